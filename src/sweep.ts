/**
 * Dead peers that the kernel alone would notice too late, without ending slow
 * readers: looks, twice a second, at when each peer has last acknowledged anything
 * while something waits for it.
 */
import type { Connection } from './connection.js'
import { debug } from './debug.js'
import { loop, openDescriptor, type TcpHandle } from './handle.js'
import { SWEEP_PERIOD } from './kernel-rules.js'
import { native } from './native.js'
import {
  aheadOfSilence,
  probesOfStuckData,
  rtoMaxForClosedWindow,
  rtoMaxForStuckData,
} from './plan.js'
import type { Reader } from './reader.js'
import { NO_VALUES } from './settings.js'
import { type SystemDefaults, systemDefaults } from './system-defaults.js'
import { write } from './write.js'

interface Waiting {
  /** When something began to wait for the peer; 0 when nothing does. */
  since: number
  /** TCP_RTO_MAX_MS while the peer's window is closed; else 0, and as the host has it. */
  rtoMax: number
  /** The low bits of the bytes that the peer has acknowledged, and when they last changed. */
  acknowledged: number
  progress: number
  /** What had been asked when it last answered anything, and when that was looked for. */
  asked: number
  timeouts: number
  looked: number
}

const NOTHING: Waiting = {
  since: 0,
  rtoMax: 0,
  acknowledged: 0,
  progress: 0,
  asked: 0,
  timeouts: 0,
  looked: -Infinity,
}

interface Swept extends Waiting {
  /** Of a peer that is dead, while the program may still be reading what it has sent. */
  reader?: Reader | undefined
}

const swept = new Map<Connection, Swept>()
let host: SystemDefaults | undefined
let isRunning = false

/** Begins to look at a connection, until it closes or nothing keeps slow readers any more. */
export function sweep(connection: Connection): void {
  if (!swept.has(connection)) swept.set(connection, { ...NOTHING })
  if (isRunning) return
  isRunning = true
  loop().after(SWEEP_PERIOD, look)
}

/** Bits of what the sweep answers, below the milliseconds. */
const CLOSED = 1
const IN_FLIGHT = 2

/** So many connections at a time: between two batches the event loop goes round. */
const BATCH = 1000

const numbers = new Int32Array(4 * BATCH)

function look(): void {
  lookAt(swept.entries())
}

function establish(connection: Connection): void {
  const { onEstablished, socket } = connection
  if (onEstablished === undefined || socket === undefined || socket.connecting) return
  connection.onEstablished = undefined
  onEstablished()
}

function lookAt(rest: Iterable<[Connection, Swept]>): void {
  const batch: [Connection, Swept][] = []
  for (const entry of rest) {
    const [connection] = entry
    if (!connection.closed) establish(connection)
    const { closed, settings, onEstablished } = connection
    if (closed || (settings.silence <= 0 && onEstablished === undefined)) {
      swept.delete(connection)
      continue
    }
    numbers[4 * batch.length] = openDescriptor(connection.handle)
    if (batch.push(entry) === BATCH) break
  }
  const { sweep, now: clock } = native()
  sweep(numbers.buffer, batch.length)
  const now = clock()
  // A descriptor that closes has its number reused: the answers are taken before anything ends.
  const silent = batch.filter(([{ handle, settings }, state], index) => {
    const at = 4 * index
    const outstanding = {
      answer: numbers[at] as number,
      acknowledged: numbers[at + 1] as number,
      asked: numbers[at + 2] as number,
      timeouts: numbers[at + 3] as number,
      now,
    }
    // A refusal of the kernel's to say is no sign of life, and none of death.
    if (outstanding.answer < 0) return false
    const isDead = settings.silence > 0 && isSilent(handle, state, settings.silence, outstanding)
    if (!isDead) state.reader = undefined
    return isDead
  })
  if (batch.length === BATCH) loop().after(0, () => lookAt(rest))
  else if (swept.size > 0) loop().after(SWEEP_PERIOD, look)
  else isRunning = false
  for (const [connection, state] of silent) state.reader = connection.conclude(state.reader)
}

/** The kernel counts the time since an answer in ticks of up to ten milliseconds. */
const TICKS = 50

interface Outstanding {
  readonly answer: number
  readonly acknowledged: number
  readonly asked: number
  readonly timeouts: number
  readonly now: number
}

/** What is outstanding on one connection, and what that says of its peer. */
function isSilent(
  handle: TcpHandle,
  state: Waiting,
  silence: number,
  { answer, acknowledged, asked, timeouts, now }: Outstanding,
): boolean {
  const lastAck = answer >> 2
  const closed = (answer & CLOSED) !== 0
  const inFlight = (answer & IN_FLIGHT) !== 0
  const moved = answer === 0 || acknowledged !== state.acknowledged
  if (answer === 0) state.since = 0
  else if (state.since === 0) state.since = now
  if (moved) state.progress = now
  // It has answered since the last look: all questions before that are over.
  if (answer === 0 || lastAck <= now - state.looked + TICKS) {
    state.asked = asked
    state.timeouts = timeouts
  }
  state.acknowledged = acknowledged
  state.looked = now
  // A window that opens a little, and for a moment, changes nothing.
  const stuck = inFlight && (closed || (state.rtoMax > 0 && !moved))
  let probes = 2
  host ??= systemDefaults()
  // An older kernel does not know the option.
  const { rtoMax = 0 } = host
  if (rtoMax > 0 && stuck) {
    const lasting = rtoMaxForStuckData(silence, now - state.progress - lastAck, host.retries2)
    bound(handle, state, aheadOfSilence(lasting, lastAck))
    probes = probesOfStuckData(silence)
  } else if (rtoMax > 0 && closed) {
    bound(handle, state, rtoMaxForClosedWindow(silence))
  } else if (state.rtoMax > 0 && bound(handle, state, rtoMax)) {
    state.rtoMax = 0
  }
  const unanswered = Math.max(asked - state.asked, timeouts - state.timeouts)
  // An idle peer has a long silence behind it: what waits must have waited as long.
  return unanswered >= probes && Math.min(lastAck, now - state.since) >= silence
}

/**
 * A slow reader's only signs of life are its answers to window probes: lets them come
 * often. Only while its window is closed: with data in flight a small bound would make
 * tcp_retries2 end the connection.
 */
function bound(handle: TcpHandle, state: Waiting, rtoMax: number): boolean {
  if (rtoMax === state.rtoMax) return true
  try {
    write(handle, { ...NO_VALUES, rtoMax })
    state.rtoMax = rtoMax
    return true
  } catch (error) {
    // Nobody is left to throw at; the next look tries again.
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
    return false
  }
}
