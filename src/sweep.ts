/**
 * Dead peers that the kernel alone would notice too late, without ending slow
 * readers: looks, twice a second, at when each peer has last acknowledged anything
 * while something waits for it.
 */

import { AsyncResource } from 'node:async_hooks'
import { constants } from 'node:os'
import { debug } from './debug.js'
import { type Connection, connectionOf, openDescriptor, type TcpHandle } from './handle.js'
import { SWEEP_PERIOD } from './kernel-rules.js'
import { native } from './native.js'
import { rtoMaxForClosedWindow } from './plan.js'
import { UNTOUCHED } from './settings.js'
import { giveUp, present } from './watch.js'
import { write } from './write.js'

interface Waiting {
  /** When something began to wait for the peer; 0 when nothing does. */
  since: number
  /** TCP_RTO_MAX_MS while the peer's window is closed; else 0, and as the settings have it. */
  rtoMax: number
}

const waiting = new Map<TcpHandle, Waiting>()
const nobody = new AsyncResource('TCPKEEPALIVE')
let timer: NodeJS.Timeout | undefined
let descriptors = new Int32Array(64)

/** Begins or ends to look at a connection, as its settings say. */
export function sweep(handle: TcpHandle, connection: Connection): void {
  if (connection.settings.silence > 0) {
    if (!waiting.has(handle)) waiting.set(handle, { since: 0, rtoMax: 0 })
    // Nobody's context: the store of whoever came first would live as long as the timer.
    timer ??= nobody.runInAsyncScope(() => setInterval(look, SWEEP_PERIOD).unref())
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

/** Bits of what the sweep answers, below the milliseconds. */
const TRIED = 1
const CLOSED = 2
const IN_FLIGHT = 4

function look(): void {
  if (descriptors.length < waiting.size) descriptors = new Int32Array(2 * waiting.size)
  let count = 0
  for (const handle of waiting.keys()) descriptors[count++] = openDescriptor(handle)
  native().sweep(descriptors.buffer, count)
  const now = performance.now()
  const silent: [TcpHandle, Connection][] = []
  let index = 0
  for (const [handle, state] of waiting) {
    const answer = descriptors[index++] as number
    // The kernel would not say: that is no sign of life, and none of death.
    if (answer < 0) continue
    if (answer === 0) state.since = 0
    else if (state.since === 0) state.since = now
    const closed = (answer & CLOSED) !== 0
    if (!closed && state.rtoMax === 0 && (answer & TRIED) === 0) continue
    const connection = connectionOf(handle)
    if (connection === undefined) continue
    const { silence, rtoMax } = connection.settings
    const lastAck = answer >> 3
    const uponData = closed && (answer & IN_FLIGHT) !== 0
    // An older kernel does not know the option.
    if (rtoMax > 0 && closed) {
      bound(handle, state, rtoMaxForClosedWindow(silence, uponData ? lastAck : 0))
    } else if (state.rtoMax > 0 && bound(handle, state, rtoMax)) {
      state.rtoMax = 0
    }
    // In that state the kernel counts neither, but with the bound two fit into the silence.
    const tried = (answer & TRIED) !== 0 || (uponData && state.rtoMax > 0)
    // An idle peer has a long silence behind it: what waits must have waited as long.
    if (tried && Math.min(lastAck, now - state.since) >= silence) silent.push([handle, connection])
  }
  for (const [handle, connection] of silent) {
    // On its way to another process the socket is no longer this one's to end.
    if (present(handle, connection, connection.ticket) === undefined) continue
    debug('nothing acknowledged for %d ms', connection.settings.silence)
    giveUp(connection, -constants.errno.ETIMEDOUT)
  }
}

/**
 * A slow reader's only signs of life are its answers to window probes: lets them come
 * often. Only while its window is closed: with data in flight a small bound would make
 * tcp_retries2 end the connection.
 */
function bound(handle: TcpHandle, state: Waiting, rtoMax: number): boolean {
  if (rtoMax === state.rtoMax) return true
  try {
    write(handle, { ...UNTOUCHED, rtoMax }, false)
    state.rtoMax = rtoMax
    return true
  } catch (error) {
    // Nobody is left to throw at; the next look tries again.
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
    return false
  }
}
