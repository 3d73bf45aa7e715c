/** What is kept for a connection that was set: to hold it, to follow it, and for the socket's next handle. */
import type { Socket } from 'node:net'
import { publishDeadPeer } from '../channel.js'
import {
  attach,
  awaitConnect,
  type Connection,
  type TcpHandle,
  tellNodeCache,
  unproxied,
} from '../handle.js'
import { type HiddenField, hiddenField } from '../hidden.js'
import { addLayer, flatten, type Layers, layersOf } from '../layers.js'
import { NO_VALUES, type Settings, UNTOUCHED } from '../settings.js'
import { sweep, unsweep } from '../sweep.js'
import { write } from '../write.js'
import { follow, followNew, unfollow } from './following.js'

/**
 * What was set on sockets that connect: for the descriptor that does not exist
 * yet, for each further attempt, and for a socket that is connected anew.
 */
export const wanted: HiddenField<Layers> = hiddenField()

/** A record for this handle, which has none. */
export function record(handle: TcpHandle, socket: Socket, layers: Layers | undefined): Connection {
  const connection = newConnection(unproxied(socket), layers ?? layersOf(UNTOUCHED))
  connection.remembered = layers !== undefined
  attach(handle, connection)
  return connection
}

/** A record for a handle that this library sets. */
export function newConnection(socket: Socket | undefined, layers: Layers): Connection {
  return {
    socket,
    layers,
    remembered: false,
    withDefaults: false,
    held: false,
    silence: 0,
    followed: false,
    place: 0,
    ticket: 0,
    resource: undefined,
    onconnect: undefined,
    onclose: closed,
  }
}

/** A handle of this socket has been given these settings: they are remembered, and take effect. */
export function keep(
  handle: TcpHandle,
  connection: Connection,
  socket: Socket,
  settings: Settings,
  connecting: boolean,
): void {
  addLayer(connection.layers, settings)
  if (!connection.remembered) remember(connection, socket, settings)
  takeEffect(handle, connection, settings, connecting)
}

function remember(connection: Connection, socket: Socket, settings: Settings): void {
  if (!connection.withDefaults) {
    wanted.set(socket, connection.layers)
    connection.remembered = true
    return
  }
  const own = wanted.of(socket)
  if (own === undefined) wanted.set(socket, layersOf(settings))
  else addLayer(own, settings)
}

/** What follows from having set a handle: it is held, watched and swept. */
export function takeEffect(
  handle: TcpHandle,
  connection: Connection,
  settings: Settings,
  connecting: boolean,
): void {
  const held = settings.held === 1
  if (connection.held !== held && settings.held >= 0) hold(handle, connection, held)
  if (settings.silence >= 0) bear(handle, connection, settings.silence)
  if (!connection.followed) (connecting ? followNew : follow)(handle, connection)
}

/** What nobody follows yet is swept when that begins. */
function bear(handle: TcpHandle, connection: Connection, silence: number): void {
  connection.silence = silence
  if (silence === 0) unsweep(handle)
  else if (connection.followed) sweep(handle)
}

function hold(handle: TcpHandle, connection: Connection, held: boolean): void {
  connection.held = held
  if (connection.socket !== undefined) tellNodeCache(handle, connection.socket, held)
}

function closed(handle: TcpHandle, connection: Connection): void {
  publishDeadPeer(handle, connection)
  connection.onconnect = undefined
  unfollow(handle, connection)
}

/**
 * The user timeout that bounds a connect is another than the one after it: `atEnd` is to be
 * called when the connection stands.
 */
export function boundConnect(
  handle: TcpHandle,
  connection: Connection,
  atEnd: (handle: TcpHandle, connection: Connection) => void,
): void {
  const { connectTimeout, userTimeout } = flatten(connection.layers)
  if (connectTimeout < 0 || connectTimeout === userTimeout) return
  connection.onconnect = atEnd
  awaitConnect(handle, connection)
}

/** The connect is over: its user timeout is taken back. */
export function connected(handle: TcpHandle, connection: Connection): void {
  const { userTimeout } = flatten(connection.layers)
  write(handle, { ...NO_VALUES, userTimeout })
}

/** As `connected`, where somebody has asked for these settings. */
export function connectedOrDestroy(handle: TcpHandle, connection: Connection): void {
  orDestroy(connection.socket, () => connected(handle, connection))
}

/**
 * Settings that had to wait for a descriptor have no caller left to throw at: the
 * socket is destroyed with the refusal, once Node is done with what it is doing.
 */
export function orDestroy(socket: Socket | undefined, action: () => void): void {
  try {
    action()
  } catch (error) {
    process.nextTick(() => socket?.destroy(error as Error))
  }
}
