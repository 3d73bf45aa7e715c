/**
 * The hooks in Node's prototypes. They call the object attached to the handle, the socket or the
 * server, and know nothing else: no connection, no settings, no copy of this package.
 */
import { type Server, Socket } from 'node:net'
import { shared } from './environment.js'
import { define, nodeInternals, type TcpHandle } from './internals.js'

/** Node's request object of one connect attempt. */
export interface ConnectRequest {
  readonly address: string
  readonly port: number
  /** Node's callback for the result; undefined once Node no longer waits for it. */
  oncomplete?:
    | ((status: number, handle: TcpHandle, request: ConnectRequest, ...able: boolean[]) => void)
    | undefined
}

/**
 * Ends a connect attempt as if the system had returned this (negative) errno: Node creates the
 * error, or tries the next address.
 */
export function failConnect(handle: TcpHandle, request: ConnectRequest, errno: number): void {
  const { oncomplete } = request
  // As Node does when it abandons an attempt: a later result of the system is ignored.
  request.oncomplete = undefined
  oncomplete?.call(request, errno, handle, request, false, false)
}

/** Attached to a TCP handle. */
export interface HandleHooks {
  /** The handle is about to close; it still has its descriptor. */
  closing(handle: TcpHandle): void
  /** Reading starts or stops, because the stream's buffer has room or is full. */
  reading(on: boolean): void
  /** A TLS socket now uses the handle: the program listens for `'error'` on that socket. */
  secured(socket: Socket): void
  /** Whether to ignore a `setKeepAlive` call; `explicit` if it has an interval or a count. */
  ignoresKeepAlive(handle: TcpHandle, enable: boolean, explicit: boolean): boolean
  /** The program turns keepalive off. Returns whether the connection was locked until now. */
  keepAliveOff(handle: TcpHandle): boolean
}

/** Attached to a socket that is not connected yet. */
export interface SocketHooks {
  /** The kernel has begun to connect this handle. */
  connecting(handle: TcpHandle, socket: Socket, request: ConnectRequest): void
}

/** Attached to a server. */
export interface ServerHooks {
  /** This handle is about to listen. */
  listening(handle: TcpHandle): void
}

/** Sees every connect, or every listen, of this environment. */
export interface Observer {
  connecting?(handle: TcpHandle, socket: Socket, request: ConnectRequest): void
  listening?(handle: TcpHandle, server: Server): void
}

/** One symbol for all three: no object is more than one of them. */
const kHooks: symbol = Symbol.for('tcp-keepalive.hooks.1')

/** The hooks attached to this object. */
export function hooksOf<Hooks>(object: object): Hooks | undefined {
  return (object as Record<symbol, Hooks | undefined>)[kHooks]
}

export function hang(object: object, hooks: HandleHooks | SocketHooks | ServerHooks): void {
  define(object, kHooks, hooks)
}

/** Installs the hooks, once per environment. Returns undefined in a runtime whose sockets differ from Node's. */
export function hook(): Set<Observer> | undefined {
  const internals = nodeInternals()
  if (internals === null) return undefined
  return shared('observers', install, internals.prototype, Socket, internals.owner, kHooks)
}

// biome-ignore lint/suspicious/noExplicitAny: Node's own objects, and their methods
type Any = any
type Method = (this: Any, ...parameters: Any[]) => Any

/** See `shared` for why this function uses only its parameters. */
function install(tcp: Any, NetSocket: Any, owner: symbol, key: symbol): Set<Observer> {
  const observers = new Set<Observer>()
  const hooksOn = (object: Any): Any => object?.[key]
  const override = (prototype: Any, name: string, method: Method): void => {
    const { enumerable = true } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
    const fields = { value: method, writable: true, configurable: true, enumerable }
    // Without a prototype, so that a polluted one adds nothing.
    Object.defineProperty(prototype, name, Object.assign(Object.create(null), fields))
  }
  /** A TLS handle's parent is its TCP handle; a forged handle may be its own parent. */
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

  // Agents, TLS and Node's own `keepAlive` option call this one directly, not the socket's method.
  override(tcp, 'setKeepAlive', function (...parameters) {
    const [enable, , interval, count] = parameters
    const explicit = interval !== undefined || count !== undefined
    if (hooksOn(this)?.ignoresKeepAlive(this, enable, explicit) === true) return 0
    return Reflect.apply(setKeepAlive, this, parameters)
  })

  // Node skips a call that changes nothing according to its own state, which may differ from the kernel's.
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

  // Node calls this method for each handle that a socket gets, also for TLS sockets, no matter
  // when node:tls was loaded.
  let seesTlsReading = false
  const { _undestroy: undestroy } = NetSocket.prototype
  override(NetSocket.prototype, '_undestroy', function _undestroy(...parameters) {
    const top = this._handle
    const handle = top?._parent ? tcpBelow(top) : undefined
    if (handle !== undefined && Object.getPrototypeOf(handle) === tcp) {
      hooksOn(handle)?.secured(this)
      // With several addresses, Node sets it only on the first handle.
      handle[owner] ??= this
      if (!seesTlsReading) seeReading(Object.getPrototypeOf(top))
      seesTlsReading = true
    }
    return Reflect.apply(undestroy, this, parameters)
  })
  return observers
}
