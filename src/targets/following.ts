/**
 * A connection that was set is watched, and swept where slow readers are kept, once it has
 * lasted for a moment. Many are gone by then: a request, an answer, a close. What has died
 * within the moment is told when it begins to be watched.
 */
import { AsyncResource } from 'node:async_hooks'
import { type Connection, connectionOf, hookTls, type TcpHandle } from '../handle.js'
import { flatten } from '../layers.js'
import { sweep, unsweep } from '../sweep.js'
import { unwatch, watch, watchable } from '../watch.js'

const MOMENT_MS = 20
/** So many at a time: between two batches the event loop goes round. */
const BATCH = 1000

const MANUAL = { requireManualDestroy: true }

let fresh: (TcpHandle | undefined)[] = []
const nobody = new AsyncResource('TCPKEEPALIVE')

/** Follows the connection until its handle closes. */
export function follow(handle: TcpHandle, connection: Connection): void {
  connection.followed = true
  hookTls()
  // So that 'error' runs where the socket was set, not in another socket's context.
  if (watchable() === 0) connection.resource ??= new AsyncResource('TCPKEEPALIVE', MANUAL)
  connection.place = fresh.push(handle) - 1
  if (connection.place > 0) return
  // Nobody's context: the store of whoever came first would live as long as the timer.
  nobody.runInAsyncScope(() => setTimeout(momentIsOver, MOMENT_MS).unref())
}

/** To be called when the handle closes. Who is not to last is let go of at once, for the collector's sake. */
export function unfollow(handle: TcpHandle, connection: Connection): void {
  connection.followed = false
  if (fresh[connection.place] === handle) fresh[connection.place] = undefined
  unwatch(handle, connection)
  unsweep(handle)
}

function momentIsOver(): void {
  const handles = fresh
  fresh = []
  followAll(handles, 0)
}

function followAll(handles: readonly (TcpHandle | undefined)[], from: number): void {
  const end = Math.min(handles.length, from + BATCH)
  for (let i = from; i < end; i++) {
    const handle = handles[i]
    const connection = handle === undefined ? undefined : connectionOf(handle)
    if (handle === undefined || connection?.followed !== true) continue
    // Where it is refused for now, the next call of a setter tries again.
    connection.followed = watch(handle, connection)
    const { silence } = flatten(connection.layers)
    if (silence > 0) sweep(handle, silence)
  }
  if (end < handles.length) setImmediate(followAll, handles, end).unref()
}
