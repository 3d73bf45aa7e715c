/** The moment at which a connect begins, and its end: what is written at each. */
import type { Socket } from 'node:net'
import { debug } from '../debug.js'
import type { SocketOptionError } from '../errors.js'
import {
  type Connection,
  type ConnectRequest,
  connectionOf,
  handleOf,
  NEEDS_CONNECTION,
  onConnecting,
  openDescriptor,
  type TcpHandle,
} from '../handle.js'
import { addLayer, flatten, type Layers, layersOf, touched } from '../layers.js'
import { type Settings, UNTOUCHED } from '../settings.js'
import { forConnect, write } from '../write.js'
import {
  boundConnect,
  connected,
  connectedOrDestroy,
  orDestroy,
  record,
  takeEffect,
  wanted,
} from './record.js'

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
    const own = connectionOf(handle)?.layers ?? wanted.of(socket)
    const given = defaults?.settingsFor(socket, request)
    if (given !== undefined) {
      if (NEEDS_CONNECTION) beginLate(handle, socket, given)
      else beginWithDefaults(handle, socket, given, request)
    }
    if (own !== undefined && !NEEDS_CONNECTION) beginWithOwn(handle, socket, own, request)
  })
}

function beginWithDefaults(
  handle: TcpHandle,
  socket: Socket,
  given: Settings,
  request: ConnectRequest,
): void {
  try {
    write(handle, forConnect(given))
  } catch (error) {
    takeBackConnectTimeout(handle, given, error as Partial<SocketOptionError>)
    defaults?.refused(socket, error)
    return
  }
  const connection = connectionOf(handle) ?? record(handle, socket, undefined)
  connection.layers = layersOf(given)
  connection.withDefaults = true
  connection.remembered = false
  begun(handle, connection, given, request)
  boundConnect(handle, connection, connectedOrTell)
}

/** What was set on this very socket. */
function beginWithOwn(
  handle: TcpHandle,
  socket: Socket,
  own: Layers,
  request: ConnectRequest,
): void {
  orDestroy(socket, () => {
    const settings = flatten(own)
    write(handle, forConnect(settings))
    const connection = connectionOf(handle) ?? record(handle, socket, own)
    if (connection.layers !== own) addLayer(connection.layers, settings)
    begun(handle, connection, settings, request)
    boundConnect(handle, connection, connectedOrDestroy)
  })
}

function begun(
  handle: TcpHandle,
  connection: Connection,
  settings: Settings,
  { address, port }: ConnectRequest,
): void {
  takeEffect(handle, connection, settings)
  if (debug.enabled) {
    debug('descriptor %d to %s port %d: %o', handle.fd, address, port, touched(settings))
  }
}

/** A connection that goes on without the defaults must not keep what bounded its connect. */
function takeBackConnectTimeout(
  handle: TcpHandle,
  { connectTimeout }: Settings,
  { changed }: Partial<SocketOptionError>,
): void {
  if (connectTimeout < 0 || changed?.includes('TCP_USER_TIMEOUT') !== true) return
  try {
    write(handle, { ...UNTOUCHED, userTimeout: 0 })
  } catch (error) {
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
  }
}

/** On Windows the descriptor is found by its addresses; its own settings follow with `'connect'`. */
function beginLate(handle: TcpHandle, socket: Socket, settings: Settings): void {
  socket.prependOnceListener('connect', () => {
    orTell(socket, () => {
      // Each attempt of a connect to several addresses has a handle of its own.
      if (handleOf(socket) !== handle || openDescriptor(handle) < 0) return
      write(handle, settings)
      const connection = connectionOf(handle) ?? record(handle, socket, undefined)
      connection.layers = layersOf(settings)
      connection.withDefaults = true
      takeEffect(handle, connection, settings)
    })
  })
}

function connectedOrTell(handle: TcpHandle, connection: Connection): void {
  const { socket } = connection
  if (socket !== undefined) orTell(socket, () => connected(handle, connection))
}

/** A refusal of what nobody asked for this socket never ends its connection. */
function orTell(socket: Socket, action: () => void): void {
  try {
    action()
  } catch (error) {
    defaults?.refused(socket, error)
  }
}
