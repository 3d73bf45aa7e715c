/** What this library does by itself, later: in nobody's async context, and in small portions. */
import { AsyncResource } from 'node:async_hooks'

const nobody = new AsyncResource('TCPKEEPALIVE')

/** Starts a timer that serves everybody: the store of whoever came first would live as long as it does. */
export function inBackground<T>(start: () => T): T {
  return nobody.runInAsyncScope(start)
}

/** So many connections at a time: between two batches the event loop goes round. */
export const BATCH = 1000
