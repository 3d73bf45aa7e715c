/** What is kept for a handle, seen through until it closes, and held against the calls of others. */
import { Socket } from 'node:net'
import { debug } from '../debug.js'
import { property } from '../errors.js'
import { hiddenField } from '../hidden.js'
import { IS_NODE } from './descriptor.js'
import { define, nodeInternals, socketOf } from './internals.js'
import type { Connection, TcpHandle } from './types.js'

const connections = hiddenField<Connection>()

/** What is kept for this handle, if this library has set it. */
export function connectionOf(handle: TcpHandle): Connection | undefined {
  return connections.of(handle)
}

/** Ties a connection to its handle, so that its end is seen without a listener. */
export function attach(handle: TcpHandle, connection: Connection): void {
  connections.set(handle, connection)
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

/** What all copies of this package in one environment have in common; on the prototype of Node's handles. */
interface Shared {
  /** Whether a `setKeepAlive` of Node's goes no further than its cache. */
  telling: boolean
  /** Each copy's part in the end of a connect: only one copy's `setKeepAlive` hears of it. */
  readonly connected: ((handle: TcpHandle) => void)[]
}

const kShared = Symbol.for('tcp-keepalive')

let shared: Shared = { telling: false, connected: [] }

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
  const { [kShared]: known } = prototype as { [kShared]?: Shared }
  if (known === undefined) define(prototype, kShared, shared)
  else shared = known
  shared.connected.push(connectEnded)
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
  if (shared.telling) return true
  const connection = connectionOf(handle)
  if (connection?.held !== true) return false
  if (!enable) {
    connection.held = false
    debug('setKeepAlive(false) ends the hold on descriptor %d', handle.fd)
    // Under TLS it is the socket below whose cache Node asks when the connect has come to stand.
    const owner = socketOf(handle)
    if (owner !== undefined) tellNodeCache(handle, owner, false)
    if (connection.onconnect !== undefined) listenForConnect(handle, connection)
    return false
  }
  debug('held: setKeepAlive(true, …) changes nothing on descriptor %d', handle.fd)
  if (socketOf(handle)?.connecting === false) {
    for (const connected of shared.connected) connected(handle)
  }
  return true
}

/**
 * Has `connection.onconnect` called for a held connection: when a connect has come to stand,
 * and before it emits `'connect'`, Node calls the `setKeepAlive` above where its cache says
 * that keepalive is on. That costs nothing, and nobody sees it.
 */
export function awaitConnect(handle: TcpHandle, connection: Connection): void {
  // Under TLS over a socket that is connecting, the connect is that socket's.
  const owner = socketOf(handle)
  if (owner !== undefined && owner !== connection.socket) tellNodeCache(handle, owner, true)
  if (owner === undefined || Object.hasOwn(handle, 'setKeepAlive')) {
    listenForConnect(handle, connection)
  }
}

/** Where Node makes no such call: keepalive was turned off meanwhile, or the method is somebody else's. */
function listenForConnect(handle: TcpHandle, connection: Connection): void {
  const socket = socketOf(handle) ?? connection.socket
  socket?.prependOnceListener('connect', () => connectEnded(handle))
}

function connectEnded(handle: TcpHandle): void {
  const connection = connectionOf(handle)
  const onconnect = connection?.onconnect
  if (connection === undefined || onconnect === undefined) return
  connection.onconnect = undefined
  onconnect(handle, connection)
}

/**
 * Tells Node's cache whether keepalive is on. Otherwise it would swallow a later
 * `setKeepAlive` of the user's, which it believes to change nothing.
 */
export function tellNodeCache(handle: TcpHandle, socket: Socket, on: boolean): void {
  // Somebody else's method on the handle would take it for a call of the user's.
  if (Object.hasOwn(handle, 'setKeepAlive')) return
  shared.telling = true
  try {
    Socket.prototype.setKeepAlive.call(socket, on)
  } finally {
    shared.telling = false
  }
}
