/**
 * A connection that was set is watched, and swept where slow readers are kept. One that is
 * new, because it was accepted or has just begun to connect, has to last for a moment first:
 * many are gone by then, a request, an answer, a close. What has died within the moment is
 * told when it begins to be watched.
 */
import { AsyncResource } from 'node:async_hooks'
import { BATCH, inBackground } from '../background.js'
import { type Connection, connectionOf, hookTls, type TcpHandle } from '../handle.js'
import { sweep, unsweep } from '../sweep.js'
import { mayBeWatched, unwatch, watch } from '../watch.js'

const MOMENT_MS = 20

const MANUAL = { requireManualDestroy: true }

let fresh: (TcpHandle | undefined)[] = []

/** Follows the connection until its handle closes. */
export function follow(handle: TcpHandle, connection: Connection): void {
  prepare(connection)
  begin(handle, connection)
}

function prepare(connection: Connection): void {
  connection.followed = true
  hookTls()
  // So that 'error' runs where the socket was set, not in another socket's context.
  if (mayBeWatched()) connection.resource ??= new AsyncResource('TCPKEEPALIVE', MANUAL)
}

function begin(handle: TcpHandle, connection: Connection): void {
  // Where it is refused for now, the next call of a setter tries again.
  connection.followed = watch(handle, connection)
  if (connection.silence > 0) sweep(handle)
}

/** Follows the connection if it lasts. */
export function followNew(handle: TcpHandle, connection: Connection): void {
  prepare(connection)
  connection.place = fresh.push(handle) - 1
  if (connection.place > 0) return
  const timer = inBackground(() => setTimeout(momentIsOver, MOMENT_MS).unref())
  // A test's fake clock may be taken away before its timers are due.
  if (!isNodes(timer)) momentIsOver()
}

function isNodes(timer: NodeJS.Timeout): boolean {
  return Object.getOwnPropertySymbols(timer).some(({ description }) => description === 'asyncId')
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
    if (handle !== undefined && connection?.followed === true) begin(handle, connection)
  }
  if (end < handles.length) setImmediate(followAll, handles, end)
}
