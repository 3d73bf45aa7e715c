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
import { type HiddenField, hiddenField } from '../hidden.js'
import { addLayer, flatten, type Layers, layersOf, merge, touched } from '../layers.js'
import { forConnect, NO_VALUES, type Settings } from '../settings.js'
import { write } from '../write.js'
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
      if (NEEDS_CONNECTION) beginLate(socket, given)
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
  takeEffect(handle, connection, settings, true)
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
    write(handle, { ...NO_VALUES, userTimeout: 0 })
  } catch (error) {
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
  }
}

/** The defaults of sockets that connect, where they can be set only when that is done: on Windows. */
const late: HiddenField<Settings | undefined> = hiddenField()

/** One listener for all attempts of a socket. */
function beginLate(socket: Socket, given: Settings): void {
  if (late.of(socket) === undefined) socket.prependOnceListener('connect', setLate)
  late.set(socket, given)
}

function setLate(this: Socket): void {
  const given = late.of(this)
  late.set(this, undefined)
  const handle = handleOf(this)
  if (given === undefined || !handle || openDescriptor(handle) < 0) return
  orTell(this, () => {
    // What was set on this very socket may have been written before, or will be after this.
    const own = wanted.of(this)
    const settings = own === undefined ? given : merge(given, flatten(own))
    write(handle, settings)
    const connection = connectionOf(handle) ?? record(handle, this, undefined)
    connection.layers = layersOf(settings)
    connection.withDefaults = true
    connection.remembered = false
    takeEffect(handle, connection, settings, false)
  })
}

function connectedOrTell(handle: TcpHandle, connection: Connection): void {
  orTell(connection.socket as Socket, () => connected(handle, connection))
}

/** A refusal of what nobody asked for this socket never ends its connection. */
function orTell(socket: Socket, action: () => void): void {
  try {
    action()
  } catch (error) {
    defaults?.refused(socket, error)
  }
}
