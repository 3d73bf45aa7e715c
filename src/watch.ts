/**
 * Errors of sockets that nobody is reading.
 *
 * A socket whose reading is stopped, or that has read its end, is out of the event
 * loop: Node never hears that the kernel has given the connection up. The
 * environment's watcher does, and here it becomes the socket's `'error'`.
 */
import { AsyncResource } from 'node:async_hooks'
import { debug } from './debug.js'
import { systemError } from './errors.js'
import { type Connection, connectionOf, hookTls, type TcpHandle } from './handle.js'
import { native } from './native.js'

interface Watched extends Connection {
  /** Where the socket was set: its `'error'` runs there, not in another socket's context. */
  resource: AsyncResource
}

/** The live handles by descriptor. A handle leaves when it closes. */
const watched = new Map<number, TcpHandle>()
let lastTicket = 0
let opened: number | undefined

/** 0, or the (negative) errno with which watching is refused here. */
export function watchable(): number {
  // Bun aborts the process when an add-on calls into libuv.
  opened ??= process.versions.bun === undefined ? native().open(notified) : -ENOSYS
  return opened
}

const ENOSYS = 38

/** Watches the connection until its handle closes. */
export function watch(handle: TcpHandle, connection: Connection): void {
  if (connection.ticket !== 0 || watchable() !== 0) return
  hookTls()
  const descriptor = handle.fd
  lastTicket = (lastTicket % 0x7fffffff) + 1
  const ticket = lastTicket
  const result = native().watch(descriptor, ticket)
  if (result !== 0) {
    debug('descriptor %d is not watched: %d', descriptor, result)
    return
  }
  connection.ticket = ticket
  ;(connection as Watched).resource = new AsyncResource('TCPKEEPALIVE', {
    requireManualDestroy: true,
  })
  watched.set(descriptor, handle)
}

/** To be called when the handle closes, while it still has its descriptor. */
export function unwatch(handle: TcpHandle, connection: Connection): void {
  if (connection.ticket === 0) return
  connection.ticket = 0
  const descriptor = handle.fd
  if (watched.get(descriptor) === handle) watched.delete(descriptor)
}

function notified(count: number): void {
  const { integers } = native()
  for (let i = 0; i < count; i++) {
    const descriptor = integers[2 * i] as number
    const ticket = integers[2 * i + 1] as number
    const handle = watched.get(descriptor)
    const connection = handle === undefined ? undefined : connectionOf(handle)
    // A descriptor that was handed to another process may still tell of its old connection.
    if (handle === undefined || connection === undefined || connection.ticket !== ticket) continue
    settle(handle, connection, ticket, handle.bytesRead, 0)
  }
}

/** Long enough for the loop to poll in between, short enough for two to be told within 100 ms. */
const TURN_MS = 20

/**
 * Node comes first: what it still reads belongs to the user, and an error that it
 * finds it reports itself. Only when it has read nothing for two turns nobody is
 * going to.
 */
function settle(
  handle: TcpHandle,
  connection: Connection,
  ticket: number,
  bytesRead: number,
  quietTurns: number,
): void {
  setTimeout(() => {
    const { socket } = connection
    if (connection.ticket !== ticket || socket === undefined || socket.destroyed) return
    const now = handle.bytesRead
    // Reading SO_ERROR while connecting would make Node believe in a connection.
    const quiet = now === bytesRead && !socket.connecting ? quietTurns + 1 : 0
    if (quiet < 2) settle(handle, connection, ticket, now, quiet)
    else report(handle, connection as Watched)
  }, TURN_MS).unref()
}

function report(handle: TcpHandle, connection: Watched): void {
  const error = native().takeError(handle.fd)
  // 0 is an orderly end: both sides have finished, nothing was lost.
  if (error <= 0) return
  debug('descriptor %d: the kernel ended it with %d while nobody was reading', handle.fd, error)
  connection.resource.runInAsyncScope(() => {
    connection.socket?.destroy(systemError(-error, 'read'))
  })
}
