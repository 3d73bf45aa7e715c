/**
 * Dead peers that the kernel alone would notice too late, without ending slow readers: looks at
 * when each peer has last acknowledged anything while something waits for it, and at whether
 * a connect is over. Each connection stands in the slot of its next look, so that one on
 * which nothing happens costs next to nothing.
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

/** Those that are looked at together, in this period. */
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

/** Begins to look at a connection, until it closes or there is nothing more to look for. */
export function sweep(connection: Connection): void {
  const now = native().now()
  if (connection.slot === undefined) connection.looked = now
  const { onEstablished, settings } = connection
  lookAgain(connection, now, onEstablished ? SWEEP_PERIOD : nextLook(settings.silence))
}

/** Where it is to be looked at sooner already, that stays. */
function lookAgain(connection: Connection, now: number, ms: number): void {
  // A look comes a little after its period has begun: rounded up, the next would be the one after next.
  const period = Math.floor((now + ms) / SWEEP_PERIOD)
  const earlier = connection.slot as Slot | undefined
  if (connection.closed || (earlier !== undefined && earlier.period <= period)) return
  const slot = slots.get(period) ?? new Slot(period, now)
  slot.connections.add(connection)
  connection.slot = slot
  earlier?.remove(connection)
}

/** The silence of each descriptor that is looked at. */
export function sweptDescriptors(): Map<number, number> {
  const silences = new Map<number, number>()
  for (const { connections } of slots.values()) {
    for (const { handle, settings } of connections) {
      if (settings.silence > 0) silences.set(openDescriptor(handle), settings.silence)
    }
  }
  return silences
}

/** So many connections at a time: between two batches the event loop goes round. */
const BATCH = 250

const numbers = new Int32Array(OUTSTANDING_FIELDS * BATCH)

function lookAt(slot: Slot): void {
  if (slots.get(slot.period) === slot) slots.delete(slot.period)
  const batch = takeBatch(slot)
  // Its turn comes whatever the program's part of this one does.
  if (slot.connections.size > 0) watcher().after(0, () => lookAt(slot))
  concludeAbout(batch)
}

/** What is to be looked at; `numbers` then begin with the descriptors. */
function takeBatch({ connections }: Slot): Connection[] {
  const batch: Connection[] = []
  for (const connection of connections) {
    connections.delete(connection)
    connection.slot = undefined
    attempt(connection, () => connection.whenEstablished())
    // What that has called may have closed it.
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

/** A socket's getters may be the program's own, and throw: no other connection is to suffer for it. */
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
    // Where the kernel does not answer, nothing is concluded.
    const isKnown = isRead && outstanding.waits >= 0 && silence > 0
    const before = connection.liveness?.acknowledged ?? NOTHING
    if (isKnown && attempt(connection, () => isDead(connection, outstanding, now, host))) {
      dead.push(connection)
    }
    if (attempt(connection, () => connection.isConnectOverdue(now))) overdue.push(connection)
    const isCalm = connection.onEstablished === undefined && isUndoubted(before, outstanding)
    lookAgain(connection, now, isCalm ? nextLook(silence) : SWEEP_PERIOD)
  }
  // Only after all of them are read: a descriptor that is closed may be reused at once.
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

/** Whether TCP_RTO_MAX_MS is what it is to be; 0 is the host's own. */
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
    // There is no caller to throw at; the next look tries again.
    debug('descriptor %d: %s', handle.fd, (error as Error).message)
    return false
  }
}
