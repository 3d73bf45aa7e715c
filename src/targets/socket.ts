import type { Socket } from 'node:net'
import { publishDeadPeer } from '../channel.js'
import { debug } from '../debug.js'
import { type SocketOptionError, socketClosed, unavailable } from '../errors.js'
import {
  attach,
  type Connection,
  type ConnectRequest,
  connectionOf,
  handleOf,
  hookTls,
  isBoundOnly,
  NEEDS_CONNECTION,
  notTcp,
  onConnecting,
  openDescriptor,
  type TcpHandle,
  tellNodeCache,
  unproxied,
  whenConnectEnds,
} from '../handle.js'
import { absorb, LEAVE, merge, type Settings, touched, UNTOUCHED } from '../settings.js'
import { sweep, unsweep } from '../sweep.js'
import { unwatch, watch } from '../watch.js'
import { firstOption, write, writeTo } from '../write.js'

/**
 * What was set on sockets that connect: for the descriptor that does not exist
 * yet, for each further attempt, and for a socket that is connected anew.
 */
const wanted = new WeakMap<Socket, Settings>()

/** Sets a socket now, or the moment it has a descriptor. */
export function applyToSocket(socket: Socket, settings: Settings): void {
  if (socket.destroyed) throw socketClosed()
  const handle = handleOf(socket)
  if (handle === undefined) throw notTcp(socket, 'setsockopt', firstOption(settings))
  const descriptor = handle === null ? -1 : descriptorToSet(socket, handle)
  if (handle === null || descriptor < 0) {
    applyLater(socket, handle, settings)
    return
  }
  const connecting =
    socket.connecting || (changesOnConnect(settings) && isBoundOnly(socket, descriptor))
  writeTo(descriptor, settings, connecting)
  const connection = connectionOf(handle) ?? connect(handle, socket, wanted.get(socket))
  // In a server's 'connection' event the record does not name its socket yet.
  connection.socket ??= unproxied(socket)
  keepWanted(handle, connection, socket, settings)
  if (connecting && changesOnConnect(settings)) whenConnected(socket, handle, connection)
}

/** Apart, because a function that makes a closure allocates at each call, and this is the rare way. */
function whenConnected(socket: Socket, handle: TcpHandle, connection: Connection): void {
  if (awaited.has(connection)) return
  awaited.add(connection)
  socket.prependOnceListener('connect', () => {
    orDestroy(socket, () => connected(handle, connection))
  })
}

const awaited = new WeakSet<Connection>()

/** The descriptor, asked for once; negative where the settings have to wait for it. */
function descriptorToSet(socket: Socket, handle: TcpHandle): number {
  if (!NEEDS_CONNECTION) return handle.fd
  if (socket.connecting) return -1
  const descriptor = openDescriptor(handle)
  // There will be no other event to wait for.
  if (descriptor < 0) {
    throw unavailable('The descriptor of this socket cannot be had in this runtime.')
  }
  return descriptor
}

/** The record's settings are also what the socket wants of its next handle. */
function keepWanted(
  handle: TcpHandle,
  connection: Connection,
  socket: Socket,
  settings: Settings,
): void {
  const { shared, withDefaults } = connection
  keep(handle, connection, settings)
  if (withDefaults) wanted.set(socket, merge(wanted.get(socket) ?? UNTOUCHED, settings))
  else if (shared) wanted.set(socket, connection.settings)
}

function applyLater(socket: Socket, handle: TcpHandle | null, settings: Settings): void {
  if (!NEEDS_CONNECTION) hookConnects()
  hookTls()
  const earlier = wanted.get(socket)
  const all = earlier === undefined ? settings : merge(earlier, settings)
  wanted.set(socket, all)
  if (NEEDS_CONNECTION) {
    if (earlier === undefined) socket.prependOnceListener('connect', applyWanted)
    return
  }
  if (handle === null) {
    // Where it goes is not known yet, and a path has no TCP connect that the hook could see.
    if (earlier === undefined) socket.prependOnceListener('connect', refuseUnlessTcp)
    return
  }
  // TLS over a socket that is connecting: the handle is that socket's, so is the connect.
  const connection = connectionOf(handle)
  if (connection === undefined) connect(handle, socket, all)
  else connection.settings = all
}

/** Where nothing can be set before, and so nothing bounds the connect. */
function applyWanted(this: Socket): void {
  orDestroy(this, () => applyToSocket(this, wanted.get(this) ?? UNTOUCHED))
}

function refuseUnlessTcp(this: Socket): void {
  orDestroy(this, () => {
    if (handleOf(this) !== undefined) return
    throw notTcp(this, 'setsockopt', firstOption(wanted.get(this) ?? UNTOUCHED))
  })
}

function connect(handle: TcpHandle, socket: Socket, settings: Settings = UNTOUCHED): Connection {
  const connection = newConnection(unproxied(socket), settings)
  attach(handle, connection)
  return connection
}

/** A record for a handle that this library sets. */
export function newConnection(socket: Socket | undefined, settings: Settings): Connection {
  return {
    socket,
    settings,
    shared: true,
    withDefaults: false,
    held: false,
    ticket: 0,
    resource: undefined,
    onclose: closed,
  }
}

/** What follows from having set a handle: it is remembered, held and watched. */
function keep(handle: TcpHandle, connection: Connection, settings: Settings): void {
  if (connection.shared) {
    connection.settings = merge(connection.settings, settings)
    connection.shared = false
  } else {
    absorb(connection.settings, settings)
  }
  if (settings.held === 1 && !connection.held) {
    connection.held = true
    if (connection.socket !== undefined) tellNodeCache(connection.socket)
  } else if (settings.held === 0) {
    connection.held = false
  }
  watch(handle, connection)
  if (settings.silence >= 0) sweep(handle, connection)
}

function closed(handle: TcpHandle, connection: Connection): void {
  publishDeadPeer(handle, connection)
  unwatch(handle, connection)
  unsweep(handle)
}

// ---------------------------------------------------------------- while connecting

/** What every connect of this environment gets, where nobody has set the socket itself. */
export interface Defaults {
  settingsFor(socket: Socket, request: ConnectRequest): Settings | undefined
  refused(socket: Socket, error: unknown): void
}

let defaults: Defaults | undefined
let hooked = false

/** Gives each socket that connects from now on these settings first. */
export function setDefaults(given: Defaults): void {
  defaults = given
  hookConnects()
}

function hookConnects(): void {
  if (hooked) return
  hooked = true
  onConnecting((handle, socket, request) => {
    const own = connectionOf(handle)?.settings ?? wanted.get(socket)
    const given = defaults?.settingsFor(socket, request)
    if (NEEDS_CONNECTION) {
      if (given !== undefined) whenConnectEnds(request, () => beginLate(handle, socket, given))
      return
    }
    if (given !== undefined) begin(handle, socket, given, request, false)
    if (own !== undefined) begin(handle, socket, own, request, true)
  })
}

/** Sets a handle whose connect the kernel has just begun. */
function begin(
  handle: TcpHandle,
  socket: Socket,
  settings: Settings,
  request: ConnectRequest,
  own: boolean,
): void {
  const guarded = own ? orDestroy : orTell
  guarded(socket, () => {
    try {
      write(handle, settings, true)
    } catch (error) {
      const { changed } = error as Partial<SocketOptionError>
      if (!own && settings.connectTimeout >= 0 && changed?.includes('TCP_USER_TIMEOUT'))
        takeBackConnectTimeout(handle, socket, settings, request)
      throw error
    }
    const connection = connectionOf(handle) ?? connect(handle, socket)
    if (own) {
      keepWanted(handle, connection, socket, settings)
    } else {
      connection.withDefaults = true
      keep(handle, connection, settings)
    }
    if (debug.enabled) {
      const { address, port } = request
      debug('descriptor %d to %s port %d: %o', handle.fd, address, port, touched(settings))
    }
    if (!changesOnConnect(settings)) return
    whenConnectEnds(request, () => {
      guarded(socket, () => connected(handle, connection))
    })
  })
}

/** A connection that goes on without the defaults must not keep what bounded its connect. */
function takeBackConnectTimeout(
  handle: TcpHandle,
  socket: Socket,
  given: Settings,
  request: ConnectRequest,
): void {
  whenConnectEnds(request, () => {
    orTell(socket, () => {
      if (openDescriptor(handle) < 0) return
      const own = connectionOf(handle)?.settings.userTimeout ?? LEAVE
      const userTimeout = own >= 0 ? own : given.userTimeout
      write(handle, { ...UNTOUCHED, userTimeout }, false)
    })
  })
}

/** On Windows the descriptor is found by its addresses; its own settings follow with `'connect'`. */
function beginLate(handle: TcpHandle, socket: Socket, settings: Settings): void {
  orTell(socket, () => {
    if (openDescriptor(handle) < 0) return
    write(handle, settings, false)
    const connection = connectionOf(handle) ?? connect(handle, socket)
    connection.withDefaults = true
    keep(handle, connection, settings)
  })
}

/** A refusal of what nobody asked for this socket never ends its connection. */
function orTell(socket: Socket, action: () => void): void {
  try {
    action()
  } catch (error) {
    defaults?.refused(socket, error)
  }
}

function changesOnConnect(settings: Settings): boolean {
  return settings.connectTimeout >= 0 || settings.rtoMax >= 0
}

/** The connect is over: its user timeout is taken back, the retransmission bound may be set. */
function connected(handle: TcpHandle, connection: Connection): void {
  if (openDescriptor(handle) < 0) return
  const { userTimeout, rtoMax, silence } = connection.settings
  write(handle, { ...UNTOUCHED, userTimeout, rtoMax, silence }, false)
}

/**
 * Settings that had to wait for a descriptor have no caller left to throw at: the
 * socket is destroyed with the refusal, once Node is done with what it is doing.
 */
export function orDestroy(socket: Socket, action: () => void): void {
  try {
    action()
  } catch (error) {
    process.nextTick(() => socket.destroy(error as Error))
  }
}
