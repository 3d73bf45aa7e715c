import { channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { type DeadPeerError, isDeadPeerError } from '../dead-peer-error.js'
import { native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'
import type { Settings } from '../options/settings.js'

/**
 * What `onDeadPeer` and the channel `tcp-keepalive:dead-peer` of `node:diagnostics_channel`
 * publish, once for each connection that this library had set and that closes with a dead
 * peer's error.
 */
export interface DeadPeerMessage {
  /** The socket that ends; its `'error'` follows. */
  socket: Socket
  /** The kernel's verdict, or an AggregateError or an error with a `cause` that is one. */
  error: DeadPeerError
  /** This end's address, while Node still knows it. */
  localAddress: string | undefined
  localPort: number | undefined
  /** The peer's, as the kernel tells it of a dead connection too. */
  remoteAddress: string | undefined
  remotePort: number | undefined
  /** What was set: seconds, probes and, for the user timeout, milliseconds; absent where it was left alone. */
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

/** To be called when a handle closes, while it still has its descriptor. */
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

/** Node forgets the peer's address when the connection dies, the kernel does not. */
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
