/**
 * Errors of sockets that nobody is reading.
 *
 * A socket whose reading is stopped, or that has read its end, is out of the event
 * loop: Node never hears that the kernel has given the connection up. The
 * environment's watcher does, and here it becomes the socket's `'error'`.
 */
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { debug } from './debug.js'
import { systemError } from './errors.js'
import {
  type Connection,
  connectionOf,
  handleOf,
  IS_NODE,
  openDescriptor,
  type TcpHandle,
} from './handle.js'
import { native } from './native.js'

/** The live handles by descriptor, which are small numbers. A handle leaves when it closes. */
const watched: (TcpHandle | undefined)[] = []
let lastTicket = 0
let opened: number | undefined

/** 0, or the (negative) errno with which watching is refused here. */
export function watchable(): number {
  // Bun aborts the process when an add-on calls into libuv, and Deno's descriptors do not last.
  const result = opened ?? (IS_NODE ? native().open(notified) : -constants.errno.ENOSYS)
  // Without a free descriptor it fails now and may succeed the next time.
  if (result === 0 || getSystemErrorName(result) === 'ENOSYS') opened = result
  return result
}

/** Whether a connection can be watched, if not now, then later. */
export function mayBeWatched(): boolean {
  return watchable() === 0 || opened === undefined
}

/** Watches the connection until its handle closes. True where there is nothing left to try. */
export function watch(handle: TcpHandle, connection: Connection): boolean {
  if (connection.ticket !== 0) return true
  if (watchable() !== 0) return !mayBeWatched()
  const descriptor = openDescriptor(handle)
  lastTicket = (lastTicket % 0x7fffffff) + 1
  const result = native().watch(descriptor, lastTicket)
  if (result !== 0) {
    debug('descriptor %d is not watched: %d', descriptor, result)
    return false
  }
  connection.ticket = lastTicket
  watched[descriptor] = handle
  return true
}

/** To be called when the handle closes, while it still has its descriptor. */
export function unwatch(handle: TcpHandle, connection: Connection): void {
  connection.resource?.emitDestroy()
  connection.resource = undefined
  if (connection.ticket === 0) return
  connection.ticket = 0
  const descriptor = handle.fd
  if (watched[descriptor] === handle) watched[descriptor] = undefined
}

function notified(count: number): void {
  // A copy: an async hook hears of each timer below, and may call this library.
  const integers = native().integers.slice(0, 2 * count)
  for (let i = 0; i < count; i++) {
    const handle = watched[integers[2 * i] as number]
    const connection = handle === undefined ? undefined : connectionOf(handle)
    // A descriptor that was handed to another process may still tell of its old connection.
    if (handle === undefined || connection?.ticket !== integers[2 * i + 1]) continue
    settle(handle, connection as Connection, 0)
  }
}

/** Long enough for the loop to poll in between. */
const TURN_MS = 20
/** Still told within 100 ms of the kernel's decision. */
const QUIET_TURNS = 3
/** A second, for a consumer that has taken data after the death: it is slow, but there. */
const PATIENT_TURNS = 50

/**
 * Node comes first: what is still read belongs to the user, and an error that Node
 * finds it reports itself. Only when nothing was read for some turns nobody is
 * going to.
 *
 * @param taken An error that was taken from the kernel before, 0 for none.
 */
function settle(handle: TcpHandle, connection: Connection, taken: number): void {
  const { ticket } = connection
  let { bytesRead } = handle
  let buffered = connection.socket?.readableLength ?? 0
  let signs = 0
  let quiet = 0
  const timer = setTimeout(() => {
    const socket = present(handle, connection, ticket)
    if (socket === undefined) return
    const progress = handle.bytesRead !== bytesRead || socket.readableLength < buffered
    bytesRead = handle.bytesRead
    buffered = socket.readableLength
    if (progress) signs++
    // Reading SO_ERROR while connecting would make Node believe in a connection.
    quiet = progress || socket.connecting ? 0 : quiet + 1
    // Filling its buffer is one sign that Node gives without a consumer.
    if (quiet < (signs > 1 ? PATIENT_TURNS : QUIET_TURNS)) timer.refresh()
    else report(handle, connection, socket, taken === 0 ? native().takeError(handle.fd) : taken)
  }, TURN_MS).unref()
}

/** The socket, if the handle is still its own: a handle on its way to another process is not. */
export function present(
  handle: TcpHandle,
  connection: Connection,
  ticket: number,
): Socket | undefined {
  const { socket } = connection
  return connection.ticket === ticket &&
    socket !== undefined &&
    !socket.destroyed &&
    handleOf(socket) === handle
    ? socket
    : undefined
}

function report(handle: TcpHandle, connection: Connection, socket: Socket, error: number): void {
  // 0 is an orderly end: both sides have finished, nothing was lost.
  if (error === 0) return
  // The kernel would not say, and it notifies once only.
  if (error < 0) {
    settle(handle, connection, 0)
    return
  }
  // The kernel says EPIPE where the peer had ended before it reset: what it sent is
  // complete, and Node would deliver it. So does a peer that has long forgotten the
  // connection answer a keepalive probe.
  if (error === constants.errno.EPIPE && !socket.readableEnded) {
    socket.once('end', () => settle(handle, connection, error))
    return
  }
  debug('descriptor %d: the kernel ended it with %d while nobody was reading', handle.fd, error)
  giveUp(connection, -error)
}

/** Ends a connection as Node does when a read tells it of the kernel's verdict. */
export function giveUp({ resource, socket }: Connection, errno: number): void {
  const end = (): void => {
    socket?.destroy(systemError(errno, 'read'))
  }
  // Where nothing can be watched there is no context either.
  if (resource === undefined) end()
  else resource.runInAsyncScope(end)
}
