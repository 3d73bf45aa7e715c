import type { Socket } from 'node:net'
import { Connection } from '../connection/connection.js'
import { socketClosed, unavailable } from '../errors.js'
import { NEEDS_CONNECTION, openDescriptor } from '../node/descriptor.js'
import { handleOf, isBoundOnly, notTcp, unproxied } from '../node/handle.js'
import type { TcpHandle } from '../node/internals.js'
import { socketOf } from '../node/internals.js'
import { forConnect, type Settings, UNTOUCHED } from '../options/settings.js'
import { firstOption, writeTo } from '../options/write.js'
import { connectBegan, orDestroy, takeEffect } from './after-write.js'
import { OwnSettings } from './own-settings.js'

/** Sets a socket now, or as soon as it has a descriptor. */
export function applyToSocket(socket: Socket, settings: Settings): void {
  if (socket.destroyed) throw socketClosed()
  const handle = handleOf(socket)
  const descriptor = handle ? descriptorToSet(socket, handle) : -1
  if (!handle || descriptor < 0) {
    applyLater(socket, handle, settings)
    return
  }
  const connecting =
    socket.connecting || (settings.connectTimeout >= 0 && isBoundOnly(socket, descriptor))
  writeTo(descriptor, connecting ? forConnect(settings) : settings)
  OwnSettings.add(socket, settings)
  const connection = Connection.at(handle, socket)
  // In a server's 'connection' event the connection has no socket yet.
  connection.socket ??= unproxied(socket)
  takeEffect(connection, settings, 'a setter')
  if (socket.connecting) connectBegan(connection, undefined, orDestroy)
}

/** The descriptor, read once; negative if the settings must wait for it. */
function descriptorToSet(socket: Socket, handle: TcpHandle): number {
  return NEEDS_CONNECTION ? connectedDescriptor(socket, handle) : handle.fd
}

function connectedDescriptor(socket: Socket, handle: TcpHandle): number {
  if (socket.connecting) return -1
  const descriptor = openDescriptor(handle)
  // No later event will provide one.
  if (descriptor < 0) {
    throw unavailable('The descriptor of this socket is not available in this runtime.')
  }
  return descriptor
}

function applyLater(
  socket: Socket,
  handle: TcpHandle | null | undefined,
  settings: Settings,
): void {
  if (handle === undefined) throw notTcp(socket, 'setsockopt', firstOption(settings))
  const isFirst = OwnSettings.add(socket, settings)
  if (NEEDS_CONNECTION) {
    if (isFirst) socket.prependOnceListener('connect', applyOwn)
    return
  }
  if (handle === null) {
    // The destination is not known yet, and the hook does not see a connect to a path.
    if (isFirst) socket.prependOnceListener('connect', refuseUnlessTcp)
    return
  }
  // TLS over a connecting socket: the handle and the connect belong to that socket.
  Connection.at(handle, socket)
  const connects = socketOf(handle)
  if (connects !== undefined && connects !== socket) OwnSettings.add(connects, settings)
}

/** In a runtime where nothing can be set earlier, so that nothing bounds the connect. */
function applyOwn(this: Socket): void {
  orDestroy(this, () => applyToSocket(this, OwnSettings.of(this) ?? UNTOUCHED))
}

function refuseUnlessTcp(this: Socket): void {
  orDestroy(this, () => {
    if (handleOf(this) !== undefined) return
    throw notTcp(this, 'setsockopt', firstOption(OwnSettings.of(this) ?? UNTOUCHED))
  })
}
