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
import { native, TCP_INFO_TOTAL_RETRANS } from './native.js'
import { aheadOfSilence, rtoMaxForClosedWindow, rtoMaxForStuckData } from './plan.js'
import { type Settings, UNTOUCHED } from './settings.js'
import { type SystemDefaults, systemDefaults } from './system-defaults.js'
import { giveUp, present } from './watch.js'
import { write } from './write.js'

interface Waiting {
  /** When something began to wait for the peer; 0 when nothing does. */
  since: number
  /** TCP_RTO_MAX_MS while the peer's window is closed; else 0, and as the settings have it. */
  rtoMax: number
  /** The low bits of the bytes that the peer has acknowledged, and when they last changed. */
  acknowledged: number
  progress: number
  /** When stuck data was last looked at, and what had been retransmitted at the last answer by then. */
  looked: number
  retransmitted: number
}

const NOTHING: Waiting = {
  since: 0,
  rtoMax: 0,
  acknowledged: 0,
  progress: 0,
  looked: -Infinity,
  retransmitted: 0,
}

const waiting = new Map<TcpHandle, Waiting>()
const nobody = new AsyncResource('TCPKEEPALIVE')
let timer: NodeJS.Timeout | undefined
let host: SystemDefaults | undefined

/** Begins or ends to look at a connection, as its settings say. */
export function sweep(handle: TcpHandle, connection: Connection): void {
  if (connection.settings.silence > 0) {
    if (!waiting.has(handle)) waiting.set(handle, { ...NOTHING })
    // Nobody's context: the store of whoever came first would live as long as the timer.
    timer ??= nobody.runInAsyncScope(() => setInterval(() => look(), SWEEP_PERIOD).unref())
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

/** So many at a time: between two batches the event loop goes round. */
const BATCH = 1000
const pairs = new Int32Array(2 * BATCH)

function look(rest: Iterable<[TcpHandle, Waiting]> = waiting.entries()): void {
  const batch: [TcpHandle, Waiting][] = []
  for (const entry of rest) {
    pairs[2 * batch.length] = openDescriptor(entry[0])
    if (batch.push(entry) === BATCH) break
  }
  native().sweep(pairs.buffer, batch.length)
  const now = performance.now()
  const silent: [TcpHandle, Connection][] = []
  let index = 0
  for (const [handle, state] of batch) {
    const connection = connectionOf(handle)
    const answer = pairs[index++] as number
    const acknowledged = pairs[index++] as number
    // A refusal of the kernel's to say is no sign of life, and none of death.
    if (connection === undefined || answer < 0) continue
    if (isSilent(handle, state, connection.settings, answer, acknowledged, now)) {
      silent.push([handle, connection])
    }
  }
  for (const [handle, connection] of silent) {
    // On its way to another process the socket is no longer this one's to end.
    if (present(handle, connection, connection.ticket) === undefined) continue
    debug('nothing acknowledged for %d ms', connection.settings.silence)
    giveUp(connection, -constants.errno.ETIMEDOUT)
  }
  if (batch.length === BATCH) setImmediate(look, rest).unref()
}

/** What is answered of one connection, and what that says of its peer. */
function isSilent(
  handle: TcpHandle,
  state: Waiting,
  { silence, rtoMax }: Settings,
  answer: number,
  acknowledged: number,
  now: number,
): boolean {
  if (answer === 0) state.since = 0
  else if (state.since === 0) state.since = now
  if (answer === 0 || acknowledged !== state.acknowledged) {
    state.acknowledged = acknowledged
    state.progress = now
  }
  const lastAck = answer >> 3
  const closed = (answer & CLOSED) !== 0
  const stuck = closed && (answer & IN_FLIGHT) !== 0
  let needed = silence
  // An older kernel does not know the option.
  if (rtoMax > 0 && stuck) {
    host ??= systemDefaults()
    const lasting = rtoMaxForStuckData(silence, now - state.progress - lastAck, host.retries2)
    bound(handle, state, aheadOfSilence(lasting, lastAck))
    // As many probes must be lost as without the longer bound.
    needed = (silence * lasting) / rtoMaxForClosedWindow(silence)
  } else if (rtoMax > 0 && closed) {
    bound(handle, state, rtoMaxForClosedWindow(silence))
  } else if (state.rtoMax > 0 && bound(handle, state, rtoMax)) {
    state.rtoMax = 0
  }
  const tried =
    (answer & TRIED) !== 0 ||
    (stuck && state.rtoMax > 0 && retransmittedTwice(handle, state, lastAck, now))
  // An idle peer has a long silence behind it: what waits must have waited as long.
  return tried && Math.min(lastAck, now - state.since) >= needed
}

/** The kernel counts the time since an answer in ticks, of up to ten milliseconds. */
const TICKS = 50

/**
 * Of stuck data the kernel counts neither retransmissions nor probes that go unanswered.
 * Nor does the time tell: a timer that ran before the bound was set may be two minutes long.
 */
function retransmittedTwice(
  handle: TcpHandle,
  state: Waiting,
  lastAck: number,
  now: number,
): boolean {
  const { tcpInfo, fields } = native()
  if (tcpInfo(openDescriptor(handle)) < 0) return false
  const retransmitted = fields[TCP_INFO_TOTAL_RETRANS] as number
  if (lastAck <= now - state.looked + TICKS) state.retransmitted = retransmitted
  state.looked = now
  return retransmitted - state.retransmitted >= 2
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
