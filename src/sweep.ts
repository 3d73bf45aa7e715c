/**
 * Dead peers that the kernel alone would notice too late, without ending slow
 * readers: looks, twice a second, at when each peer has last acknowledged anything
 * while something waits for it.
 */

import { constants } from 'node:os'
import { performance } from 'node:perf_hooks'
import { debug } from './debug.js'
import { type Connection, connectionOf, type TcpHandle } from './handle.js'
import { native } from './native.js'
import { SWEEP_PERIOD } from './plan.js'
import { giveUp } from './watch.js'

/** Since when something has been waiting for the peer; 0 when nothing is. */
const waiting = new Map<TcpHandle, number>()
let timer: NodeJS.Timeout | undefined
let descriptors = new Int32Array(64)

/** Begins or ends to look at a connection, as its settings say. */
export function sweep(handle: TcpHandle, connection: Connection): void {
  if (connection.settings.silence > 0) {
    if (!waiting.has(handle)) waiting.set(handle, 0)
    timer ??= setInterval(look, SWEEP_PERIOD).unref()
  } else {
    unsweep(handle)
  }
}

/** To be called when the handle closes. */
export function unsweep(handle: TcpHandle): void {
  if (!waiting.delete(handle) || waiting.size > 0) return
  clearInterval(timer)
  timer = undefined
}

function look(): void {
  if (descriptors.length < waiting.size) descriptors = new Int32Array(2 * waiting.size)
  let count = 0
  for (const handle of waiting.keys()) descriptors[count++] = handle.fd
  native().sweep(descriptors.buffer, count)
  const now = performance.now()
  const silent: Connection[] = []
  let index = 0
  for (const [handle, since] of waiting) {
    const answer = descriptors[index++] as number
    if (answer <= 0) {
      if (since !== 0) waiting.set(handle, 0)
    } else if (since === 0) {
      waiting.set(handle, now)
    } else if ((answer & 1) === 1) {
      const connection = connectionOf(handle)
      // An idle peer has a long silence behind it: what waits must have waited as long.
      const silence = Math.min(answer >> 1, now - since)
      if (connection !== undefined && silence >= connection.settings.silence)
        silent.push(connection)
    }
  }
  for (const connection of silent) {
    debug('nothing acknowledged for %d ms', connection.settings.silence)
    giveUp(connection, -constants.errno.ETIMEDOUT)
  }
}
