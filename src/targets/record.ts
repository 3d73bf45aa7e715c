/** What is kept for a connection that was set: to hold it, to watch it, and for the socket's next handle. */
import type { Socket } from 'node:net'
import { publishDeadPeer } from '../channel.js'
import { attach, type Connection, type TcpHandle, tellNodeCache, unproxied } from '../handle.js'
import { absorb, merge, type Settings, UNTOUCHED } from '../settings.js'
import { sweep, unsweep } from '../sweep.js'
import { unwatch, watch } from '../watch.js'

/**
 * What was set on sockets that connect: for the descriptor that does not exist
 * yet, for each further attempt, and for a socket that is connected anew.
 */
export const wanted: WeakMap<Socket, Settings> = new WeakMap()

/** A record for this handle, which has none. */
export function record(
  handle: TcpHandle,
  socket: Socket,
  settings: Settings = UNTOUCHED,
): Connection {
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
export function keep(handle: TcpHandle, connection: Connection, settings: Settings): void {
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

/** The record's settings are also what the socket wants of its next handle. */
export function keepWanted(
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

/** Whether the end of the connect has something to write. */
export function changesOnConnect(settings: Settings): boolean {
  return settings.connectTimeout >= 0 || settings.rtoMax >= 0
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
