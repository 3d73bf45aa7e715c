/**
 * The hooks in Node's prototypes. They look at what hangs on the handle, the socket or the server
 * at hand, and know nothing else: no connection, no settings, no copy of this package.
 */
import { type Server, Socket } from 'node:net'
import { shared } from './environment.js'
import { define, nodeInternals, type TcpHandle } from './internals.js'

/** Node's record of one attempt to connect. */
export interface ConnectRequest {
  readonly address: string
  readonly port: number
  /** What Node does with the system's answer; undefined once it waits for none any more. */
  oncomplete?:
    | ((status: number, handle: TcpHandle, request: ConnectRequest, ...able: boolean[]) => void)
    | undefined
}

/**
 * Ends an attempt to connect as if the system had answered with this (negative) errno: Node makes
 * the error of it, or tries the next address.
 */
export function failConnect(handle: TcpHandle, request: ConnectRequest, errno: number): void {
  const { oncomplete } = request
  // As Node does when it abandons an attempt: what the system still answers is no news.
  request.oncomplete = undefined
  oncomplete?.call(request, errno, handle, request, false, false)
}

/** Hangs on a TCP handle. */
export interface HandleHooks {
  /** The handle closes; it still has its descriptor. */
  closing(handle: TcpHandle): void
  /** Reading begins or stops, because the stream's buffer has room or is full. */
  reading(on: boolean): void
  /** A TLS socket is laid over the handle: its `'error'` is the one that the program waits for. */
  secured(socket: Socket): void
  /** Whether a `setKeepAlive` is to go no further; `explicit` where it has an interval or a count. */
  ignoresKeepAlive(handle: TcpHandle, enable: boolean, explicit: boolean): boolean
  /** The program turns keepalive off. Whether that was to be ignored until now. */
  keepAliveOff(handle: TcpHandle): boolean
}

/** Hangs on a socket that has still to be connected. */
export interface SocketHooks {
  /** The kernel has begun to connect this handle. */
  connecting(handle: TcpHandle, socket: Socket, request: ConnectRequest): void
}

/** Hangs on a server. */
export interface ServerHooks {
  /** The kernel is about to open this listener. */
  listening(handle: TcpHandle): void
}

/** Sees every connect, or every listen, of this environment. */
export interface Observer {
  connecting?(handle: TcpHandle, socket: Socket, request: ConnectRequest): void
  listening?(handle: TcpHandle, server: Server): void
}

/** One symbol for all three: no object is two of them. */
const kHooks: symbol = Symbol.for('tcp-keepalive.hooks.1')

/** What hangs on this object. */
export function hooksOf<Hooks>(object: object): Hooks | undefined {
  return (object as Record<symbol, Hooks | undefined>)[kHooks]
}

export function hang(object: object, hooks: HandleHooks | SocketHooks | ServerHooks): void {
  define(object, kHooks, hooks)
}

/** Installs the hooks, once per environment. Undefined where sockets are not made like Node's. */
export function hook(): Set<Observer> | undefined {
  const internals = nodeInternals()
  if (internals === null) return undefined
  return shared('observers', install, internals.prototype, Socket, internals.owner, kHooks)
}

// biome-ignore lint/suspicious/noExplicitAny: Node's own objects, and their methods
type Any = any
type Method = (this: Any, ...parameters: Any[]) => Any

/** See `shared` for why this function uses nothing but its parameters. */
function install(tcp: Any, NetSocket: Any, owner: symbol, key: symbol): Set<Observer> {
  const observers = new Set<Observer>()
  const hooksOn = (object: Any): Any => object?.[key]
  const override = (prototype: Any, name: string, method: Method): void => {
    const { enumerable = true } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
    const fields = { value: method, writable: true, configurable: true, enumerable }
    // Without a prototype, so that a polluted one adds nothing.
    Object.defineProperty(prototype, name, Object.assign(Object.create(null), fields))
  }
  /** TLS lies over its TCP handle; a forged handle may lie over itself. */
  const tcpBelow = (top: Any): Any => {
    let handle = top
    for (let depth = 0; depth < 16 && handle?._parent; depth++) handle = handle._parent
    return handle
  }

  for (const name of ['connect', 'connect6']) {
    const original = tcp[name]
    override(tcp, name, function connect(...parameters) {
      const socket = this[owner]
      const result = Reflect.apply(original, this, parameters)
      if (result !== 0 || !(socket instanceof NetSocket)) return result
      for (const observer of observers) observer.connecting?.(this, socket as Any, parameters[0])
      hooksOn(socket)?.connecting(this, socket, parameters[0])
      return result
    })
  }

  const { listen, close, reset, setKeepAlive } = tcp
  override(tcp, 'listen', function (...parameters) {
    const server = this[owner]
    if (server !== undefined) {
      for (const observer of observers) observer.listening?.(this, server)
      hooksOn(server)?.listening(this)
    }
    return Reflect.apply(listen, this, parameters)
  })
  override(tcp, 'close', function closeHandle(...parameters) {
    hooksOn(this)?.closing(this)
    return Reflect.apply(close, this, parameters)
  })
  override(tcp, 'reset', function resetHandle(...parameters) {
    hooksOn(this)?.closing(this)
    return Reflect.apply(reset, this, parameters)
  })

  // Agents, TLS and Node's own `keepAlive` option call this one, past any method of the socket.
  override(tcp, 'setKeepAlive', function (...parameters) {
    const [enable, , interval, count] = parameters
    const explicit = interval !== undefined || count !== undefined
    if (hooksOn(this)?.ignoresKeepAlive(this, enable, explicit) === true) return 0
    return Reflect.apply(setKeepAlive, this, parameters)
  })

  // Node skips a call that changes nothing by its own record, which is not the kernel's.
  const { setKeepAlive: setSocketKeepAlive } = NetSocket.prototype
  override(NetSocket.prototype, 'setKeepAlive', function (...parameters) {
    const result = Reflect.apply(setSocketKeepAlive, this, parameters)
    let [enable] = parameters
    const takesObject = setSocketKeepAlive.length > 2
    if (takesObject && typeof enable === 'object' && enable !== null) enable = enable.enable
    const handle = enable ? undefined : tcpBelow(this._handle)
    if (hooksOn(handle)?.keepAliveOff(handle) === true) handle.setKeepAlive(false, 0)
    return result
  })

  const seeReading = (prototype: Any): void => {
    const { readStart, readStop } = prototype
    override(prototype, 'readStart', function (...parameters) {
      hooksOn(tcpBelow(this))?.reading(true)
      return Reflect.apply(readStart, this, parameters)
    })
    override(prototype, 'readStop', function (...parameters) {
      hooksOn(tcpBelow(this))?.reading(false)
      return Reflect.apply(readStop, this, parameters)
    })
  }
  seeReading(tcp)

  // Node calls this method for each handle that a socket gets, TLS sockets as well, whenever
  // node:tls was loaded.
  let seesTlsReading = false
  const { _undestroy: undestroy } = NetSocket.prototype
  override(NetSocket.prototype, '_undestroy', function _undestroy(...parameters) {
    const top = this._handle
    const handle = top?._parent ? tcpBelow(top) : undefined
    if (handle !== undefined && Object.getPrototypeOf(handle) === tcp) {
      hooksOn(handle)?.secured(this)
      // Node says so of the handle for a first address only.
      handle[owner] ??= this
      if (!seesTlsReading) seeReading(Object.getPrototypeOf(top))
      seesTlsReading = true
    }
    return Reflect.apply(undestroy, this, parameters)
  })
  return observers
}
