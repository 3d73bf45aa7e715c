/**
 * The only file that knows what Node hides below a socket: the handle, its
 * descriptor, and the moments at which it connects, listens, accepts and closes.
 */
import type { AsyncResource } from 'node:async_hooks'
import { type Server, Socket } from 'node:net'
import { debug } from './debug.js'
import { invalidValue, notSupported, SocketOptionError, type SocketOptionName } from './errors.js'
import { IS_NODE } from './handle/descriptor.js'
import type { Settings } from './settings.js'

export { IS_NODE, NEEDS_CONNECTION, openDescriptor } from './handle/descriptor.js'

/** Why there is nothing to hook outside of Node. */
export const NOT_NODE =
  'This runtime makes its connections where they cannot be seen. Set each socket, server or agent itself.'

/** What this library uses of Node's TCP handle (`TCP` of tcp_wrap.cc). */
export interface TcpHandle {
  readonly fd: number
  readonly bytesRead: number
  setKeepAlive(enable: boolean, ...delays: number[]): number
  close(callback?: () => void): void
  reset(callback?: () => void): number
  connect(request: ConnectRequest, ...address: unknown[]): number
  connect6(request: ConnectRequest, ...address: unknown[]): number
  listen(backlog: number): number
  onconnection: (this: TcpHandle, error: number, client?: TcpHandle) => void
}

/** Node's record of one attempt to connect. */
export interface ConnectRequest {
  oncomplete: unknown
  readonly address: string
  readonly port: number
}

/** What this library keeps for one connection; it goes when the handle goes. */
export interface Connection {
  /** The socket that the user holds: under TLS the TLSSocket, once there is one. */
  socket: Socket | undefined
  settings: Settings
  /** Whether somebody else holds the same settings, so that a change needs a copy. */
  shared: boolean
  /** Whether the settings are more than what was set on this very socket. */
  withDefaults: boolean
  /** Whether later `setKeepAlive(true, …)` calls of others are ignored. */
  held: boolean
  /** The number under which the descriptor is watched, 0 when it is not. */
  ticket: number
  /** Where the descriptor was first watched: the context of its `'error'`. */
  resource: AsyncResource | undefined
  /** Called when the handle closes, while `socket.errored` tells why. */
  onclose: ((handle: TcpHandle, connection: Connection) => void) | undefined
}

const kConnection = Symbol('tcp-keepalive')

/** The handle's own properties of this library are not enumerable: they are nobody's business. */
function define(object: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, configurable: true })
}

// ---------------------------------------------------------------- the prototype

interface Internals {
  /** Node's TCP handles, and nothing else, have this prototype. */
  readonly prototype: TcpHandle
  /** Under this key a handle names its socket or server. */
  readonly owner: symbol
}

let internals: Internals | null | undefined

/** Undefined in a runtime whose sockets are not made like Node's. */
function nodeInternals(): Internals | null {
  if (internals === undefined) internals = discover()
  return internals
}

/** A socket that is about to look up a name has its handle already, and never gets further. */
function discover(): Internals | null {
  if (!IS_NODE) return null
  const throwaway = new Socket()
  throwaway.on('error', () => {})
  throwaway.connect({ port: 1, host: 'tcp-keepalive.invalid', lookup() {} })
  const handle = rawHandle(throwaway)
  // destroy() would open process.stderr, which a program may never want.
  Object.assign(throwaway, { _handle: null })
  handle?.close()
  if (handle === null || handle === undefined || handle.constructor?.name !== 'TCP') return null
  const owner = Object.getOwnPropertySymbols(handle).find(
    (key) => key.description === 'owner_symbol',
  )
  return owner === undefined
    ? null
    : { prototype: Object.getPrototypeOf(handle) as TcpHandle, owner }
}

type AnyHandle = TcpHandle & { _parent?: AnyHandle }

function rawHandle(socket: Socket): AnyHandle | null | undefined {
  return (socket as unknown as { _handle?: AnyHandle | null })._handle
}

/**
 * The TCP handle of a socket, under TLS the one below. `null` where there is none
 * yet; `undefined` where it is something else (a pipe, TLS over a stream).
 */
export function handleOf(socket: Socket): TcpHandle | null | undefined {
  let handle = rawHandle(socket)
  if (handle === null || handle === undefined) return null
  const prototype = (internals ?? nodeInternals())?.prototype
  if (prototype === undefined) return foreignHandle(socket, handle)
  while (Object.getPrototypeOf(handle) !== prototype) {
    handle = handle._parent
    if (handle === null || handle === undefined) return undefined
  }
  return handle
}

/** Bun has one kind of handle for everything, Deno one for each kind; neither has a port on a path. */
function foreignHandle(socket: Socket, top: AnyHandle): AnyHandle | undefined {
  let handle = top
  while (!hasDescriptor(handle) && handle._parent) handle = handle._parent
  const isTcp =
    handle.constructor?.name !== 'PipeWrap' && (socket.connecting || socket.localPort !== undefined)
  return isTcp ? handle : undefined
}

function hasDescriptor(handle: object): boolean {
  return 'fd' in handle || 'fdForIpc' in handle
}

/** The socket itself: an http2 session's `socket` is a proxy, and of no use when the session has ended. */
export function unproxied(socket: Socket): Socket {
  const handle = rawHandle(socket)
  const owner = handle === null || handle === undefined ? undefined : ownerOf(handle)
  return owner instanceof Socket ? owner : socket
}

/** net.BoundSocket makes sockets that have a descriptor before they begin to connect. */
const HAS_BOUND_SOCKETS = 'BoundSocket' in require('node:net')

/** Whether a socket with a descriptor has still to be connected. */
export function isBoundOnly(socket: Socket): boolean {
  return HAS_BOUND_SOCKETS && socket.remoteAddress === undefined
}

/** Why a socket whose `handleOf` is `undefined` has no TCP options. */
export function notTcp(
  socket: Socket,
  syscall: 'setsockopt' | 'getsockopt',
  option: SocketOptionName,
): Error {
  let handle: AnyHandle | null | undefined = rawHandle(socket)
  while (handle?._parent !== undefined && handle._parent !== null) handle = handle._parent
  if (handle?.constructor?.name === 'JSStream') {
    return invalidValue(
      'This TLS socket runs over a stream, not over a TCP socket of its own. Pass the TCP socket that carries that stream.',
    )
  }
  return new SocketOptionError(
    syscall,
    notSupported(),
    option,
    [],
    'this is a Unix-domain socket, a pipe or a terminal, not a TCP socket',
  )
}

// ---------------------------------------------------------------- one connection

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
  Object.defineProperty(prototype, 'close', { enumerable: true })
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

// ---------------------------------------------------------------- hold

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

// ---------------------------------------------------------------- TLS

/** The TLSSocket over a handle that was made for another address of the same connect. */
const reinitialized = new WeakMap<TcpHandle, Socket>()
let tlsHooked = false

/**
 * Sees each TLS socket that is laid over a TCP handle: it is then the one whose
 * error the user waits for.
 */
export function hookTls(): void {
  if (tlsHooked || nodeInternals() === null) return
  tlsHooked = true
  const { TLSSocket } = require('node:tls') as typeof import('node:tls')
  const prototype = TLSSocket.prototype as unknown as {
    _wrapHandle?: (wrap: unknown, handle: TcpHandle | undefined, ...rest: unknown[]) => unknown
  }
  const wrapHandle = prototype._wrapHandle
  if (wrapHandle === undefined) return
  prototype._wrapHandle = function _wrapHandle(this: Socket, wrap, handle, ...rest) {
    if (handle !== undefined && handle !== null) {
      const connection = connectionOf(handle)
      if (connection !== undefined) {
        connection.socket = this
        // The constructor is still running and would reset a cache that is told now.
        if (connection.held) {
          process.nextTick(() => {
            if (connection.held) tellNodeCache(this)
          })
        }
      } else if (wrap === null) reinitialized.set(handle, this)
    }
    return Reflect.apply(wrapHandle, this, [wrap, handle, ...rest])
  }
}

// ---------------------------------------------------------------- connecting

/** Hears of each connect of this environment, right after the kernel has begun it. */
export type ConnectListener = (handle: TcpHandle, socket: Socket, request: ConnectRequest) => void

const connectListeners: ConnectListener[] = []

/** Adds no listener to a socket and no frame to a user's stack. */
export function onConnecting(listener: ConnectListener): void {
  connectListeners.push(listener)
  if (connectListeners.length > 1) return
  const prototype = nodeInternals()?.prototype
  if (prototype === undefined) return
  for (const method of ['connect', 'connect6'] as const) {
    const original = prototype[method]
    define(
      prototype,
      method,
      function connect(this: TcpHandle, request: ConnectRequest, ...address: unknown[]): number {
        const result = Reflect.apply(original, this, [request, ...address]) as number
        if (result === 0) begun(this, request)
        return result
      },
    )
  }
}

function begun(handle: TcpHandle, request: ConnectRequest): void {
  const socket = ownerOf(handle)
  if (!(socket instanceof Socket)) return
  for (const listener of connectListeners) listener(handle, socket, request)
}

function ownerOf(handle: TcpHandle): unknown {
  const key = nodeInternals()?.owner
  if (key === undefined) return undefined
  return (handle as unknown as Record<symbol, unknown>)[key] ?? reinitialized.get(handle)
}

const kEnding = Symbol('tcp-keepalive.ending')

const PLAIN = { writable: true, enumerable: true, configurable: true }

/** Who waits for the end of a connect, and what `oncomplete` was before. */
interface Ending {
  value: unknown
  /** Somebody else's accessor. */
  readonly accessor: PropertyDescriptor | undefined
  readonly callbacks: (() => void)[]
}

type Attempt = ConnectRequest & { [kEnding]?: Ending }

/**
 * One for all requests: V8 allocates accessors where only a major collection looks, and
 * closures of each request would keep its socket, and all that hangs on it, until then.
 */
const ENDING: PropertyDescriptor & ThisType<Attempt> = {
  configurable: true,
  enumerable: true,
  get() {
    const { value, accessor, callbacks } = this[kEnding] as Ending
    const oncomplete = accessor === undefined ? value : accessor.get?.call(this)
    // A stack names a method by the property that it is found in.
    if (accessor === undefined) Object.defineProperty(this, 'oncomplete', { ...PLAIN, value })
    for (const callback of callbacks) callback()
    return oncomplete
  },
  set(value: unknown) {
    const ending = this[kEnding] as Ending
    if (ending.accessor?.set === undefined) ending.value = value
    else ending.accessor.set.call(this, value)
  },
}

/**
 * Runs when a connect has come to its end, before `'connect'` or `'error'` is
 * emitted. Node fetches `oncomplete` at that moment: an accessor sees it without
 * being in anybody's stack.
 */
export function whenConnectEnds(request: ConnectRequest, callback: () => void): void {
  const ending = (request as Attempt)[kEnding]
  if (ending !== undefined) {
    ending.callbacks.push(callback)
    return
  }
  // Reading the property itself would be the end of the connect for an accessor that is there already.
  const present = Object.getOwnPropertyDescriptor(request, 'oncomplete')
  const accessor = present?.get === undefined ? undefined : present
  define(request, kEnding, { value: present?.value, accessor, callbacks: [callback] })
  Object.defineProperty(request, 'oncomplete', ENDING)
}

// ---------------------------------------------------------------- listening and accepting

/** Hears of each listener of this environment, right before the kernel opens it. */
export type ListenListener = (handle: TcpHandle, server: Server) => void

const listenListeners: ListenListener[] = []

/** So that the settings are on the listener before the first handshake. */
export function onListening(listener: ListenListener): void {
  listenListeners.push(listener)
  if (listenListeners.length > 1) return
  const prototype = nodeInternals()?.prototype
  if (prototype === undefined) return
  const original = prototype.listen
  define(prototype, 'listen', function listen(this: TcpHandle, backlog: number): number {
    const server = ownerOf(this)
    if (server !== undefined) {
      for (const listener of listenListeners) listener(this, server as Server)
    }
    return Reflect.apply(original, this, [backlog]) as number
  })
}

/**
 * Calls back when the server's `listen` has come to a handle of whatever kind, before
 * a connection can come in and before `'listening'` is emitted.
 */
export function onListened(server: Server, callback: () => void): void {
  // Node calls this method for each listen, in all versions.
  const listen = (server as unknown as { _listen2(...args: unknown[]): void })._listen2
  define(server, '_listen2', function _listen2(this: Server, ...args: unknown[]): void {
    Reflect.apply(listen, this, args)
    callback()
  })
}

/** A listening server's handle; in a cluster worker it may be no TCP handle at all. */
export function listenerOf(server: Server): TcpHandle | null {
  return (server as unknown as { _handle?: TcpHandle | null })._handle ?? null
}

/** Whether a listener's handle is Node's own for TCP. */
export function isTcpHandle(handle: object): boolean {
  return Object.getPrototypeOf(handle) === nodeInternals()?.prototype
}

/**
 * Sees each accepted handle before Node makes a socket of it (and before its own
 * `keepAlive` option is written), and the socket afterwards, with what the first gave back.
 */
export function onAccepting(
  listener: TcpHandle,
  accepting: (client: TcpHandle) => unknown,
  accepted: (client: TcpHandle, socket: Socket, answer: unknown) => void,
): void {
  const original = listener.onconnection
  define(
    listener,
    'onconnection',
    function onconnection(this: TcpHandle, error: number, client?: TcpHandle): void {
      if (client === undefined) {
        Reflect.apply(original, this, [error, client])
        return
      }
      const answer = accepting(client)
      try {
        Reflect.apply(original, this, [error, client])
      } finally {
        const socket = ownerOf(client)
        if (socket instanceof Socket) accepted(client, socket, answer)
      }
    },
  )
}
