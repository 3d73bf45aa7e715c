import type { Socket } from 'node:net'
import { socketClosed, unavailable } from '../errors.js'
import {
  connectionOf,
  handleOf,
  hookTls,
  isBoundOnly,
  NEEDS_CONNECTION,
  notTcp,
  openDescriptor,
  socketOf,
  type TcpHandle,
  unproxied,
} from '../handle.js'
import { addLayer, flatten, type Layers, layersOf } from '../layers.js'
import { forConnect, type Settings, UNTOUCHED } from '../settings.js'
import { firstOption, writeTo } from '../write.js'
import { hookConnects } from './connecting.js'
import { boundConnect, connectedOrDestroy, keep, orDestroy, record, wanted } from './record.js'

/** Sets a socket now, or the moment it has a descriptor. */
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
  const known = connectionOf(handle)
  writeTo(descriptor, connecting ? forConnect(settings) : settings)
  const connection = known ?? record(handle, socket, wanted.of(socket))
  // In a server's 'connection' event the record does not name its socket yet.
  if (connection.socket === undefined) connection.socket = unproxied(socket)
  keep(handle, connection, socket, settings, connecting)
  if (connecting) boundConnect(handle, connection, connectedOrDestroy)
}

/** The descriptor, asked for once; negative where the settings have to wait for it. */
function descriptorToSet(socket: Socket, handle: TcpHandle): number {
  return NEEDS_CONNECTION ? connectedDescriptor(socket, handle) : handle.fd
}

function connectedDescriptor(socket: Socket, handle: TcpHandle): number {
  if (socket.connecting) return -1
  const descriptor = openDescriptor(handle)
  // There will be no other event to wait for.
  if (descriptor < 0) {
    throw unavailable('The descriptor of this socket cannot be had in this runtime.')
  }
  return descriptor
}

function applyLater(
  socket: Socket,
  handle: TcpHandle | null | undefined,
  settings: Settings,
): void {
  if (handle === undefined) throw notTcp(socket, 'setsockopt', firstOption(settings))
  if (!NEEDS_CONNECTION) hookConnects()
  hookTls()
  const earlier = wanted.of(socket)
  const layers = earlier ?? layersOf(UNTOUCHED)
  addLayer(layers, settings)
  if (earlier === undefined) wanted.set(socket, layers)
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
  const connection = connectionOf(handle) ?? record(handle, socket, layersBelow(handle) ?? layers)
  if (connection.layers !== layers) addLayer(connection.layers, settings)
}

/** What was set on the socket of a handle, under TLS another than the one that is set now. */
function layersBelow(handle: TcpHandle): Layers | undefined {
  const below = socketOf(handle)
  return below === undefined ? undefined : wanted.of(below)
}

function wantedBy(socket: Socket): Settings {
  const layers: Layers | undefined = wanted.of(socket)
  return layers === undefined ? UNTOUCHED : flatten(layers)
}

/** Where nothing can be set before, and so nothing bounds the connect. */
function applyWanted(this: Socket): void {
  orDestroy(this, () => applyToSocket(this, wantedBy(this)))
}

function refuseUnlessTcp(this: Socket): void {
  orDestroy(this, () => {
    if (handleOf(this) !== undefined) return
    throw notTcp(this, 'setsockopt', firstOption(wantedBy(this)))
  })
}
