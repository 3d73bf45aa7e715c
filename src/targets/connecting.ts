/** The moment at which a connect begins, and its end: what is written at each. */
import type { Socket } from 'node:net'
import { debug } from '../debug.js'
import type { SocketOptionError } from '../errors.js'
import {
  type Connection,
  type ConnectRequest,
  connectionOf,
  NEEDS_CONNECTION,
  onConnecting,
  openDescriptor,
  type TcpHandle,
  whenConnectEnds,
} from '../handle.js'
import { LEAVE, type Settings, touched, UNTOUCHED } from '../settings.js'
import { write } from '../write.js'
import { changesOnConnect, keep, keepWanted, orDestroy, record, wanted } from './record.js'

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

/** So that a socket is set right after the kernel has begun to connect it. */
export function hookConnects(): void {
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
    const connection = connectionOf(handle) ?? record(handle, socket)
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
    const connection = connectionOf(handle) ?? record(handle, socket)
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

/** The connect is over: its user timeout is taken back, the retransmission bound may be set. */
export function connected(handle: TcpHandle, connection: Connection): void {
  if (openDescriptor(handle) < 0) return
  const { userTimeout, rtoMax, silence } = connection.settings
  write(handle, { ...UNTOUCHED, userTimeout, rtoMax, silence }, false)
}
