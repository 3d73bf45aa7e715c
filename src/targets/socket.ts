import type { Socket } from 'node:net'
import { socketClosed, unavailable } from '../errors.js'
import {
  type Connection,
  connectionOf,
  handleOf,
  hookTls,
  isBoundOnly,
  NEEDS_CONNECTION,
  notTcp,
  openDescriptor,
  type TcpHandle,
  unproxied,
} from '../handle.js'
import { merge, type Settings, UNTOUCHED } from '../settings.js'
import { firstOption, writeTo } from '../write.js'
import { connected, hookConnects } from './connecting.js'
import { changesOnConnect, keepWanted, orDestroy, record, wanted } from './record.js'

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
  const connection = connectionOf(handle) ?? record(handle, socket, wanted.get(socket))
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
  if (connection === undefined) record(handle, socket, all)
  else {
    connection.settings = all
    // Equal settings are one object: nobody may change it.
    connection.shared = true
  }
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
