/** From a socket to its TCP handle. */
import type { Socket } from 'node:net'
import { errnoOf, invalidValue, SocketOptionError } from '../errors.js'
import { native } from '../native.js'
import type { SocketOptionName } from '../options/socket-options.js'
import type { TcpHandle } from './internals.js'
import { type AnyHandle, nodeInternals, rawHandle, socketOf } from './internals.js'

/**
 * The TCP handle of a socket, under TLS the one below. `null` if there is none yet;
 * `undefined` if it is something else (a pipe, TLS over a stream).
 */
export function handleOf(socket: Socket): TcpHandle | null | undefined {
  const top = rawHandle(socket)
  if (top === null || top === undefined) return null
  const prototype = nodeInternals()?.prototype
  if (prototype === undefined) return foreignHandle(socket, top)
  let handle: AnyHandle | null | undefined = top
  for (let depth = 0; handle !== null && handle !== undefined && depth < MAX_LAYERS; depth++) {
    if (Object.getPrototypeOf(handle) === prototype) return handle
    handle = handle._parent
  }
  return undefined
}

/** TLS in TLS has two layers; a forged handle may be its own parent. */
const MAX_LAYERS = 16

/** Bun has one class of handles for everything, Deno one per kind; neither has a port for a path. */
function foreignHandle(socket: Socket, top: AnyHandle): AnyHandle | undefined {
  let handle = top
  for (let depth = 0; !hasDescriptor(handle) && handle._parent && depth < MAX_LAYERS; depth++) {
    handle = handle._parent
  }
  const isTcp =
    handle.constructor?.name !== 'PipeWrap' && (socket.connecting || socket.localPort !== undefined)
  return isTcp ? handle : undefined
}

function hasDescriptor(handle: object): boolean {
  return 'fd' in handle || 'fdForIpc' in handle
}

/** The socket itself: an http2 session's `socket` is a proxy that cannot be used after the session has ended. */
export function unproxied(socket: Socket): Socket {
  const handle = rawHandle(socket)
  return (handle === null || handle === undefined ? undefined : socketOf(handle)) ?? socket
}

/** net.BoundSocket makes sockets that have a descriptor before they begin to connect. */
const HAS_BOUND_SOCKETS = 'BoundSocket' in require('node:net')

/** Whether a socket with a descriptor is not connected yet. `remoteAddress` is also undefined on a dead connection. */
export function isBoundOnly(socket: Socket, descriptor: number): boolean {
  return (
    HAS_BOUND_SOCKETS && socket.remoteAddress === undefined && native().peerAddress(descriptor) < 0
  )
}

/** Why a socket whose `handleOf` is `undefined` has no TCP options. */
export function notTcp(
  socket: Socket,
  syscall: 'setsockopt' | 'getsockopt',
  option: SocketOptionName,
): Error {
  let handle: AnyHandle | null | undefined = rawHandle(socket)
  for (let depth = 0; handle?._parent && depth < MAX_LAYERS; depth++) handle = handle._parent
  if (handle?.constructor?.name === 'JSStream') {
    return invalidValue(
      'This TLS socket runs over a stream, not over a TCP socket of its own. Pass the TCP socket that carries that stream.',
    )
  }
  return new SocketOptionError(
    syscall,
    errnoOf('ENOTSUP'),
    option,
    [],
    'this is a Unix-domain socket, a pipe or a terminal, not a TCP socket',
  )
}
