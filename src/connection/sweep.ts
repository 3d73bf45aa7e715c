/**
 * Finds dead peers that the kernel alone would notice too late, without ending slow readers:
 * checks when each peer last acknowledged anything while something waits for it, and whether
 * a connect has completed. Each connection is in the slot of its next look, so that an idle one
 * costs almost nothing.
 */
import { debug } from '../debug.js'
import { SWEEP_PERIOD } from '../kernel/rules.js'
import { hostDefaults, type SystemDefaults } from '../kernel/system-defaults.js'
import { native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'
import { watcher } from '../node/watcher.js'
import { NO_VALUES } from '../options/settings.js'
import { write } from '../options/write.js'
import type { Connection } from './connection.js'
import {
  isUndoubted,
  type Liveness,
  NOTHING,
  nextLook,
  OUTSTANDING_FIELDS,
  type Outstanding,
  observe,
  outstandingOf,
  startsToWait,
} from './liveness.js'

/** The connections that are looked at together, in one period. */
class Slot {
  readonly period: number
  readonly connections = new Set<Connection>()
  private readonly cancel: () => void

  constructor(period: number, now: number) {
    this.period = period
    slots.set(period, this)
    this.cancel = watcher().after(period * SWEEP_PERIOD - now, () => lookAt(this))
  }

  remove(connection: Connection): void {
    this.connections.delete(connection)
    if (this.connections.size > 0 || slots.get(this.period) !== this) return
    slots.delete(this.period)
    this.cancel()
  }
}

const slots = new Map<number, Slot>()

/** Looks at a connection from now on, until it closes or has no silence and no connect to watch. */
export function sweep(connection: Connection): void {
  const now = native().now()
  if (connection.slot === undefined) connection.looked = now
  const { onEstablished, settings } = connection
  lookAgain(connection, now, onEstablished ? SWEEP_PERIOD : nextLook(settings.silence))
}

/** Schedules the next look, unless an earlier one is scheduled already. */
function lookAgain(connection: Connection, now: number, ms: number): void {
  // A look comes shortly after its period begins. Rounding up would skip the next period.
  const period = Math.floor((now + ms) / SWEEP_PERIOD)
  const earlier = connection.slot as Slot | undefined
  if (connection.closed || (earlier !== undefined && earlier.period <= period)) return
  const slot = slots.get(period) ?? new Slot(period, now)
  slot.connections.add(connection)
  connection.slot = slot
  earlier?.remove(connection)
}

/** The silence of each descriptor in the sweep. */
export function sweptDescriptors(): Map<number, number> {
  const silences = new Map<number, number>()
  for (const { connections } of slots.values()) {
    for (const { handle, settings } of connections) {
      if (settings.silence > 0) silences.set(openDescriptor(handle), settings.silence)
    }
  }
  return silences
}

/** How many connections at a time: other events run between two batches. */
const BATCH = 250

const numbers = new Int32Array(OUTSTANDING_FIELDS * BATCH)

function lookAt(slot: Slot): void {
  const batch = takeBatch(slot)
  // Scheduled first: code of the program that runs for this batch may throw.
  if (slot.connections.size > 0) watcher().after(0, () => lookAt(slot))
  else if (slots.get(slot.period) === slot) slots.delete(slot.period)
  concludeAbout(batch)
}

/** The connections to look at; writes their descriptors into `numbers`. */
function takeBatch({ connections }: Slot): Connection[] {
  const batch: Connection[] = []
  for (const connection of connections) {
    connections.delete(connection)
    connection.slot = undefined
    attempt(connection, () => connection.whenEstablished())
    // The callback may have closed it.
    if (connection.closed) continue
    if (connection.onEstablished === undefined && connection.settings.silence <= 0) {
      connection.liveness = undefined
      continue
    }
    numbers[OUTSTANDING_FIELDS * batch.length] = openDescriptor(connection.handle)
    if (batch.push(connection) === BATCH) break
  }
  return batch
}

/** A socket's getters may be the program's own and throw, which must not affect other connections. */
function attempt<T>(connection: Connection, action: () => T): T | undefined {
  try {
    return action()
  } catch (error) {
    debug('descriptor %d: %s', connection.handle.fd, error)
    return undefined
  }
}

function concludeAbout(batch: readonly Connection[]): void {
  const { sweep: readAll, now: clock } = native()
  const isRead = readAll(numbers.buffer, batch.length) === 0
  const now = clock()
  const host = hostDefaults()
  const dead: Connection[] = []
  const overdue: Connection[] = []
  for (const [nth, connection] of batch.entries()) {
    const outstanding = outstandingOf(numbers, nth)
    const { silence } = connection.settings
    // If TCP_INFO could not be read, nothing is concluded.
    const isKnown = isRead && outstanding.waits >= 0 && silence > 0
    const before = connection.liveness?.acknowledged ?? NOTHING
    if (isKnown && attempt(connection, () => isDead(connection, outstanding, now, host))) {
      dead.push(connection)
    }
    if (attempt(connection, () => connection.isConnectOverdue(now))) overdue.push(connection)
    const isCalm = connection.onEstablished === undefined && isUndoubted(before, outstanding)
    lookAgain(connection, now, isCalm ? nextLook(silence) : SWEEP_PERIOD)
  }
  // Only after all have been read: a closed descriptor may be reused at once.
  for (const connection of dead) connection.conclude(now)
  for (const connection of overdue) connection.endConnect()
}

function isDead(
  connection: Connection,
  outstanding: Outstanding,
  now: number,
  host: SystemDefaults,
): boolean {
  const { handle, settings, looked } = connection
  connection.looked = now
  if (outstanding.waits === 0) {
    connection.follow(false, now)
    if (bound(handle, connection.liveness, 0, host)) connection.liveness = undefined
    return false
  }
  connection.liveness ??= startsToWait(looked, outstanding, now)
  const { peer, rtoMax } = observe(connection.liveness, outstanding, now, settings.silence, host)
  bound(handle, connection.liveness, rtoMax, host)
  connection.follow(true, now)
  if (peer !== 'alive') debug('descriptor %d: %s for %d ms', handle.fd, peer, settings.silence)
  return peer !== 'alive'
}

/** Writes TCP_RTO_MAX_MS if it differs; 0 is the host's default. Returns whether it is in force. */
function bound(
  handle: TcpHandle,
  state: Liveness | undefined,
  rtoMax: number,
  host: SystemDefaults,
): boolean {
  if (state === undefined || state.rtoMax === rtoMax) return true
  try {
    write(handle, { ...NO_VALUES, rtoMax: rtoMax === 0 ? (host.rtoMax as number) : rtoMax })
    state.rtoMax = rtoMax
    return true
  } catch (error) {
    // No caller is left to catch the error; the next look tries again.
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
    return false
  }
}
