import { channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { type DeadPeerError, isDeadPeerError } from '../dead-peer-error.js'
import { native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'
import type { Settings } from '../options/settings.js'

/**
 * The message of `onDeadPeer` and of the channel `tcp-keepalive:dead-peer` of
 * `node:diagnostics_channel`: one for each connection that this library had set and that closes
 * with a dead peer's error.
 */
export interface DeadPeerMessage {
  /** The socket that is closing; its `'error'` follows. */
  socket: Socket
  /** The socket's error: a dead peer's, or an AggregateError or an error with a `cause` that contains one. */
  error: DeadPeerError
  /** The local address, if Node still knows it. */
  localAddress: string | undefined
  localPort: number | undefined
  /** The peer's address, from the kernel, which still has it when the connection is dead. */
  remoteAddress: string | undefined
  remotePort: number | undefined
  /**
   * What was set: `idle` and `interval` in seconds, `count` in probes, `userTimeout` in
   * milliseconds. Fields that were not set are absent.
   */
  settings: {
    keepalive?: boolean
    idle?: number
    interval?: number
    count?: number
    userTimeout?: number
  }
}

interface Closing {
  readonly handle: TcpHandle
  readonly socket: Socket | undefined
  readonly settings: Settings
}

export const DEAD_PEER_CHANNEL = 'tcp-keepalive:dead-peer'
const deadPeers = channel(DEAD_PEER_CHANNEL)

/** Call it when a handle closes, while the handle still has its descriptor. */
export function publishDeadPeer({ handle, socket, settings }: Closing): void {
  if (!deadPeers.hasSubscribers) return
  const error = socket?.errored
  if (socket === undefined || !isDeadPeerError(error)) return
  const message: DeadPeerMessage = {
    socket,
    error,
    localAddress: socket.localAddress,
    localPort: socket.localPort,
    ...peer(handle),
    settings: published(settings),
  }
  deadPeers.publish(message)
}

/** When the connection is dead, Node no longer has the peer's address; the kernel does. */
function peer(handle: TcpHandle): Pick<DeadPeerMessage, 'remoteAddress' | 'remotePort'> {
  const port = native().peerAddress(openDescriptor(handle))
  if (port < 0) return { remoteAddress: undefined, remotePort: undefined }
  const { bytes } = native()
  return {
    remoteAddress: Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString('latin1'),
    remotePort: port,
  }
}

function published(settings: Settings): DeadPeerMessage['settings'] {
  const result: DeadPeerMessage['settings'] = {}
  if (settings.keepalive >= 0) result.keepalive = settings.keepalive === 1
  for (const field of ['idle', 'interval', 'count', 'userTimeout'] as const) {
    if (settings[field] >= 0) result[field] = settings[field]
  }
  return result
}
