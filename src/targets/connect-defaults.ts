/** Defaults for every socket that connects; the socket's own settings override them. */
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

/**
 * Sets the defaults on each socket that connects from now on, before its own settings.
 * Returns a function that undoes it.
 */
export function observeConnects(defaults: Defaults): () => void {
  const observer: Observer = {
    connecting(handle, socket, request) {
      const settings = defaults.settingsFor(socket, request)
      if (settings === undefined) return
      // Node's connect must not fail because of settings that the program did not make.
      orReport(defaults, socket, () => {
        if (NEEDS_CONNECTION) {
          beginLate(defaults, socket, settings)
          boundConnect(Connection.at(handle, socket), request, () => settings.connectTimeout)
        } else begin(defaults, handle, socket, settings, request)
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
  settings: Settings,
  request: ConnectRequest,
): void {
  try {
    write(handle, forConnect(settings))
  } catch (error) {
    resetConnectTimeout(handle, settings, error as Partial<SocketOptionError>)
    defaults.reportRefusal(socket, error)
    return
  }
  const connection = Connection.at(handle, socket)
  takeEffect(connection, settings, 'defaults')
  connectBegan(connection, request, (_, action) => orReport(defaults, socket, action))
  logConnect(connection, request)
}

/** A connection that continues without the defaults must not keep their connect timeout. */
function resetConnectTimeout(
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

/** The defaults of connecting sockets that can be set only once they are connected: on Windows. */
const late = new WeakMap<Socket, Settings>()

/** One listener for all attempts of a socket. */
function beginLate(defaults: Defaults, socket: Socket, settings: Settings): void {
  if (!late.has(socket)) socket.prependOnceListener('connect', () => setLate(defaults, socket))
  late.set(socket, settings)
}

function setLate(defaults: Defaults, socket: Socket): void {
  const settings = late.get(socket)
  late.delete(socket)
  const handle = handleOf(socket)
  if (settings === undefined || !handle || openDescriptor(handle) < 0) return
  orReport(defaults, socket, () => {
    // The socket's own settings may have been written before this, or will be afterwards.
    const own = OwnSettings.of(socket)
    write(handle, own === undefined ? settings : merge(settings, own))
    const connection = Connection.at(handle, socket)
    takeEffect(connection, settings, 'defaults')
    if (own !== undefined) takeEffect(connection, own, 'a setter')
  })
}

/** Reports a refusal of defaults, which must never end a connection. */
function orReport(defaults: Defaults, socket: Socket, action: () => void): void {
  try {
    action()
  } catch (error) {
    defaults.reportRefusal(socket, error)
  }
}
