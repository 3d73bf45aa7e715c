/** Defaults for every socket that connects, where the program has set nothing on the socket itself. */
import type { Socket } from 'node:net'
import { Connection } from '../connection/connection.js'
import { debug } from '../debug.js'
import type { SocketOptionError } from '../errors.js'
import { NEEDS_CONNECTION, openDescriptor } from '../node/descriptor.js'
import { handleOf } from '../node/handle.js'
import type { ConnectRequest } from '../node/hooks.js'
import { hook, type Observer } from '../node/hooks.js'
import type { TcpHandle } from '../node/internals.js'
import { merge } from '../options/merge.js'
import { forConnect, NO_VALUES, type Settings } from '../options/settings.js'
import { write } from '../options/write.js'
import { boundConnect, connectBegan, logConnect, takeEffect } from './after-write.js'
import { OwnSettings } from './own-settings.js'

export interface Defaults {
  settingsFor(socket: Socket, request: ConnectRequest): Settings | undefined
  reportRefusal(socket: Socket, error: unknown): void
}

/** Gives each socket that connects from now on these settings first. Returns the undo. */
export function observeConnects(defaults: Defaults): () => void {
  const observer: Observer = {
    connecting(handle, socket, request) {
      const given = defaults.settingsFor(socket, request)
      if (given === undefined) return
      // Node's connect must not fail by what the program has not asked for.
      orReport(defaults, socket, () => {
        if (NEEDS_CONNECTION) {
          beginLate(defaults, socket, given)
          boundConnect(Connection.at(handle, socket), request, () => given.connectTimeout)
        } else begin(defaults, handle, socket, given, request)
      })
    },
  }
  const observers = hook()
  observers?.add(observer)
  return () => observers?.delete(observer)
}

function begin(
  defaults: Defaults,
  handle: TcpHandle,
  socket: Socket,
  given: Settings,
  request: ConnectRequest,
): void {
  try {
    write(handle, forConnect(given))
  } catch (error) {
    takeBackConnectTimeout(handle, given, error as Partial<SocketOptionError>)
    defaults.reportRefusal(socket, error)
    return
  }
  const connection = Connection.at(handle, socket)
  takeEffect(connection, given, 'defaults')
  connectBegan(connection, request, (_, action) => orReport(defaults, socket, action))
  logConnect(connection, request)
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
const late = new WeakMap<Socket, Settings>()

/** One listener for all attempts of a socket. */
function beginLate(defaults: Defaults, socket: Socket, given: Settings): void {
  if (!late.has(socket)) socket.prependOnceListener('connect', () => setLate(defaults, socket))
  late.set(socket, given)
}

function setLate(defaults: Defaults, socket: Socket): void {
  const given = late.get(socket)
  late.delete(socket)
  const handle = handleOf(socket)
  if (given === undefined || !handle || openDescriptor(handle) < 0) return
  orReport(defaults, socket, () => {
    // What was set on this very socket may have been written before, or will be after this.
    const own = OwnSettings.of(socket)
    write(handle, own === undefined ? given : merge(given, own))
    const connection = Connection.at(handle, socket)
    takeEffect(connection, given, 'defaults')
    if (own !== undefined) takeEffect(connection, own, 'a setter')
  })
}

/** A refusal of what nobody asked for this socket never ends its connection. */
function orReport(defaults: Defaults, socket: Socket, action: () => void): void {
  try {
    action()
  } catch (error) {
    defaults.reportRefusal(socket, error)
  }
}
