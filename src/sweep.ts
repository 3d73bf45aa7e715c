/**
 * Dead peers that the kernel alone would notice too late, without ending slow
 * readers: looks, twice a second, at when each peer has last acknowledged anything
 * while something waits for it. It also sees when a connect is over.
 */
import type { Connection } from './connection.js'
import { debug } from './debug.js'
import { loop, openDescriptor, type TcpHandle } from './handle.js'
import { SWEEP_PERIOD } from './kernel-rules.js'
import { native } from './native.js'
import type { Reader } from './reader.js'
import { NO_VALUES } from './settings.js'
import {
  nothingKnown,
  OUTSTANDING_FIELDS,
  observe,
  outstandingOf,
  type Silence,
} from './silence.js'
import { type SystemDefaults, systemDefaults } from './system-defaults.js'
import { write } from './write.js'

interface Swept {
  readonly silence: Silence
  /** While something waits for the peer: it may die while the program is reading what it has sent. */
  reader: Reader | undefined
}

const swept = new Map<Connection, Swept>()
let host: SystemDefaults | undefined
let isRunning = false

/** Begins to look at a connection, until it closes or there is nothing more to look for. */
export function sweep(connection: Connection): void {
  if (!swept.has(connection)) swept.set(connection, { silence: nothingKnown(), reader: undefined })
  if (isRunning) return
  isRunning = true
  loop().after(SWEEP_PERIOD, look)
}

/** The silence that is allowed, by descriptor. */
export function sweptDescriptors(): Map<number, number> {
  const silences = new Map<number, number>()
  for (const { closed, handle, settings } of swept.keys()) {
    if (!closed && settings.silence > 0) silences.set(openDescriptor(handle), settings.silence)
  }
  return silences
}

/** So many connections at a time: between two batches the event loop goes round. */
const BATCH = 1000

const numbers = new Int32Array(OUTSTANDING_FIELDS * BATCH)

function look(): void {
  lookAt(swept.entries())
}

function lookAt(rest: Iterable<[Connection, Swept]>): void {
  const batch = nextBatch(rest)
  try {
    concludeAbout(batch)
  } finally {
    if (batch.length === BATCH) loop().after(0, () => lookAt(rest))
    else if (swept.size > 0) loop().after(SWEEP_PERIOD, look)
    else isRunning = false
  }
}

function concludeAbout(batch: readonly [Connection, Swept][]): void {
  const { sweep, now: clock } = native()
  sweep(numbers.buffer, batch.length)
  const now = clock()
  host ??= systemDefaults()
  const dead: [Connection, Reader][] = []
  for (const [nth, [connection, state]] of batch.entries()) {
    const outstanding = outstandingOf(numbers, nth)
    const { settings, handle } = connection
    // Where the kernel does not answer, nothing is concluded.
    if (outstanding.waits < 0 || settings.silence <= 0) continue
    const { peer, rtoMax } = observe(state.silence, outstanding, now, settings.silence, host)
    if (rtoMax !== state.silence.rtoMax) bound(handle, state.silence, rtoMax, host)
    state.reader = outstanding.waits > 0 ? connection.follow(state.reader, now) : undefined
    if (peer === 'alive' || state.reader === undefined) continue
    debug('descriptor %d: %s for %d ms', handle.fd, peer, settings.silence)
    dead.push([connection, state.reader])
  }
  // Once all answers are taken: a number whose connection ends is soon another's.
  for (const [connection, reader] of dead) connection.conclude(reader, now)
}

/** What is to be looked at; `numbers` then begin with the descriptors. */
function nextBatch(rest: Iterable<[Connection, Swept]>): [Connection, Swept][] {
  const batch: [Connection, Swept][] = []
  for (const entry of rest) {
    const [connection] = entry
    if (!connection.closed) connection.whenEstablished()
    if (connection.closed || !isWanted(connection)) {
      swept.delete(connection)
      continue
    }
    numbers[OUTSTANDING_FIELDS * batch.length] = openDescriptor(connection.handle)
    if (batch.push(entry) === BATCH) break
  }
  return batch
}

function isWanted({ settings, onEstablished }: Connection): boolean {
  return settings.silence > 0 || onEstablished !== undefined
}

/** 0 is the host's own bound. */
function bound(handle: TcpHandle, state: Silence, rtoMax: number, host: SystemDefaults): void {
  try {
    write(handle, { ...NO_VALUES, rtoMax: rtoMax === 0 ? (host.rtoMax as number) : rtoMax })
    state.rtoMax = rtoMax
  } catch (error) {
    // There is no caller to throw at; the next look tries again.
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
  }
}
