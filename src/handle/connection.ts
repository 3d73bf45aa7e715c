/** What is kept for a handle, seen through until it closes, and held against the calls of others. */
import { Socket } from 'node:net'
import { debug } from '../debug.js'
import { property } from '../errors.js'
import { IS_NODE } from './descriptor.js'
import { define, nodeInternals } from './internals.js'
import { handleOf } from './socket.js'
import type { Connection, TcpHandle } from './types.js'

const kConnection = Symbol('tcp-keepalive')

type Attached = TcpHandle & { [kConnection]?: Connection }

/** What is kept for this handle, if this library has set it. */
export function connectionOf(handle: TcpHandle): Connection | undefined {
  return (handle as Attached)[kConnection]
}

/** Ties a connection to its handle, so that its end is seen without a listener. */
export function attach(handle: TcpHandle, connection: Connection): void {
  define(handle, kConnection, connection)
  if (IS_NODE) hookHandles()
  else hookHandle(handle, connection)
}

/** Without a prototype that all TCP handles share, each is hooked by itself. */
function hookHandle(handle: TcpHandle, connection: Connection): void {
  const { setKeepAlive } = handle
  define(handle, 'setKeepAlive', (enable: boolean, ...delays: number[]): unknown =>
    held(handle, enable) ? 0 : setKeepAlive.call(handle, enable, ...delays),
  )
  connection.socket?.once('close', () => ended(handle))
}

let handlesHooked = false

/**
 * The methods of all TCP handles, once, look whether a handle is one of ours. Own
 * methods on each handle would cost a microsecond more per connection. Where another
 * copy of this package has done the same, each calls the next.
 */
function hookHandles(): void {
  if (handlesHooked) return
  handlesHooked = true
  const prototype = nodeInternals()?.prototype
  if (prototype === undefined) return
  const { close, reset, setKeepAlive } = prototype
  define(prototype, 'close', function closeHandle(this: TcpHandle, callback?: () => void): void {
    ended(this)
    close.call(this, callback)
  })
  // The one that is inherited, and so would vanish from a walk over a handle.
  Object.defineProperty(prototype, 'close', property({ enumerable: true }))
  define(prototype, 'reset', function resetHandle(this: TcpHandle, callback?: () => void): number {
    ended(this)
    return reset.call(this, callback)
  })
  define(
    prototype,
    'setKeepAlive',
    function (this: TcpHandle, enable: boolean, ...delays: number[]): number {
      return held(this, enable) ? 0 : setKeepAlive.call(this, enable, ...delays)
    },
  )
}

function ended(handle: TcpHandle): void {
  const connection = connectionOf(handle)
  connection?.onclose?.(handle, connection)
}

/**
 * Whether this call is not to reach the kernel, because it would undo what was set:
 * Node's agents and drivers make such calls. The hold is on the handle: agents, TLS
 * and Node's own `keepAlive` option reach past anything that is on the socket.
 */
function held(handle: TcpHandle, enable: boolean): boolean {
  if (telling) return true
  const connection = connectionOf(handle)
  if (connection?.held !== true) return false
  if (enable) {
    debug('held: setKeepAlive(true, …) changes nothing on descriptor %d', handle.fd)
    return true
  }
  connection.held = false
  debug('setKeepAlive(false) ends the hold on descriptor %d', handle.fd)
  return false
}

/**
 * Tells Node's cache that keepalive is on. Otherwise it would swallow a later
 * `setKeepAlive(false)`, which it believes to change nothing.
 */
export function tellNodeCache(socket: Socket): void {
  const handle = handleOf(socket)
  // Somebody else's method on the handle would take it for a call of the user's.
  if (handle === null || handle === undefined || Object.hasOwn(handle, 'setKeepAlive')) return
  telling = true
  try {
    Socket.prototype.setKeepAlive.call(socket, true)
  } finally {
    telling = false
  }
}

let telling = false
