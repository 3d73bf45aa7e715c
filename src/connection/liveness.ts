/**
 * Whether a peer is alive: from what waits for it, which probes were sent, and what it has
 * answered. Pure: numbers in, a finding out. A probe is here whatever asks a peer for an answer:
 * a retransmission, a window probe.
 *
 * Two clocks run while something waits. The first counts from the peer's last
 * acknowledgement of anything. The second counts from the last progress, an acknowledgement
 * of something new, and runs only while the window is open: a peer that goes on sending
 * although nothing of ours arrives stops the first, and a slow reader would be ended by the
 * second. Neither ends a connection before probes have gone unanswered.
 */
import {
  aheadOfSilence,
  probesForClosedWindow,
  probesForStuckData,
  rtoMaxForClosedWindow,
  rtoMaxForStuckData,
  UNANSWERED_PROBES,
} from '../kernel/closed-window.js'
import { SWEEP_PERIOD } from '../kernel/rules.js'
import type { SystemDefaults } from '../kernel/system-defaults.js'

/** `Outstanding` of native/sockopt.h, which says what each field is. */
export interface Outstanding {
  readonly waits: number
  readonly inFlight: number
  readonly window: number
  readonly sinceAck: number
  readonly acknowledged: number
  readonly retransmitted: number
  readonly probes: number
  readonly timeouts: number
  readonly bare: number
  readonly answerTime: number
  readonly waited: number
}

/** So many numbers `sweep` of the binding has for each connection. */
export const OUTSTANDING_FIELDS = 11

/** What `sweep` of the binding has answered about its nth connection. */
export function outstandingOf(numbers: Int32Array, nth: number): Outstanding {
  const at = OUTSTANDING_FIELDS * nth
  return {
    waits: numbers[at] as number,
    inFlight: numbers[at + 1] as number,
    window: numbers[at + 2] as number,
    sinceAck: numbers[at + 3] as number,
    acknowledged: numbers[at + 4] as number,
    retransmitted: numbers[at + 5] as number,
    probes: numbers[at + 6] as number,
    timeouts: numbers[at + 7] as number,
    bare: numbers[at + 8] as number,
    answerTime: numbers[at + 9] as number,
    waited: numbers[at + 10] as number,
  }
}

/** What is known of one peer while something waits for it; times in milliseconds, on the clock of `observe`. */
export interface Liveness {
  /** The last look. */
  looked: number
  /** When something began to wait, or later, but no later than the look that found it. */
  since: number
  /** The low bits of the bytes that the peer has acknowledged, and when they last changed. */
  acknowledged: number
  progress: number
  /** The window has been closed since then, or what looks like it. */
  closed: boolean
  /** The retransmissions and expiries that were over when the peer last answered anything. */
  retransmitted: number
  timeouts: number
  /** Since when enough has been unanswered. */
  unanswered: number
  /** The second clock's begin, the expiries until then, and since when there have been enough. */
  stalled: number
  expired: number
  expiredEnough: number
  /** The segments without data until then. */
  bare: number
  /** TCP_RTO_MAX_MS as the sweep has written it; 0 where it is the host's own. */
  rtoMax: number
}

export interface Finding {
  /** `silent`: by the first clock. `stalled`: by the second. Both end the connection. */
  readonly peer: 'alive' | 'silent' | 'stalled'
  /** TCP_RTO_MAX_MS to be in force from now on; 0: the host's own. */
  readonly rtoMax: number
}

/** No number of acknowledged bytes. */
export const NOTHING = -1

/** @param before The last look that found nothing waiting, or when looking began. */
export function startsToWait(before: number, { waited }: Outstanding, now: number): Liveness {
  return {
    looked: -Infinity,
    since: Math.max(before, now - waited),
    acknowledged: NOTHING,
    progress: 0,
    closed: false,
    retransmitted: 0,
    timeouts: 0,
    unanswered: Infinity,
    stalled: 0,
    expired: 0,
    expiredEnough: Infinity,
    bare: 0,
    rtoMax: 0,
  }
}

/** The kernel counts the time since an answer in ticks of up to ten milliseconds. */
const TICKS = 50
/** While the window is open a retransmission that arrives is answered by progress. */
const PROBES_IN_FLIGHT = 2

/**
 * One look at a connection for which something waits. `silence` is what the settings allow, `host`
 * has what the kernel knows; the caller writes `rtoMax` and, when that has succeeded, keeps it in
 * `state`.
 */
export function observe(
  state: Liveness,
  outstanding: Outstanding,
  now: number,
  silence: number,
  host: SystemDefaults,
): Finding {
  const { inFlight, window, sinceAck, acknowledged, retransmitted, timeouts, bare, waited } =
    outstanding
  const isFirst = state.acknowledged === NOTHING
  const moved = acknowledged !== state.acknowledged
  const bounded = host.rtoMax !== undefined
  // A kernel before 6.6, and so without the option, ignores the closing of a window upon data
  // in flight: there a slow reader's answers are bare acknowledgements, and the window looks open.
  const answers = !bounded && bare !== state.bare
  // A window that opens a little, and for a moment, changes nothing. (-1: the kernel does not say.)
  const closed = window <= 0 || ((state.closed || answers) && !moved)

  if (moved) {
    state.progress = now
    // What waits now may have been written long after what waited at the last look.
    state.since = Math.max(state.since, now - waited)
  }
  // It has answered since the last look: all probes before that are over.
  if (sinceAck <= now - state.looked + TICKS) {
    state.retransmitted = retransmitted
    // Those of a first look are unanswered where nothing has arrived since the data was sent.
    state.timeouts = isFirst && sinceAck >= waited ? 0 : timeouts
    state.unanswered = Infinity
  }
  if (moved || inFlight === 0 || window <= 0 || answers) {
    state.stalled = isFirst && inFlight > 0 && window > 0 ? state.since : now
    state.expired = timeouts
    state.expiredEnough = Infinity
  }
  state.acknowledged = acknowledged
  state.closed = closed
  state.bare = bare
  state.looked = now

  const probes = closed ? probesOf(state, silence, inFlight > 0) : PROBES_IN_FLIGHT
  const unanswered =
    inFlight === 0
      ? outstanding.probes
      : Math.max(retransmitted - state.retransmitted, timeouts - state.timeouts)
  state.unanswered = unanswered < probes ? Infinity : Math.min(state.unanswered, now)
  const expiries = closed ? UNANSWERED_PROBES : PROBES_IN_FLIGHT
  const expired = timeouts - state.expired
  state.expiredEnough = expired < expiries ? Infinity : Math.min(state.expiredEnough, now)

  return {
    peer: findingOf(state, outstanding, silence),
    rtoMax: bounded && closed ? boundOf(state, outstanding, silence, host.retries2) : 0,
  }
}

/** Where no bound lets probes come often, any that is lost is a long silence. */
function probesOf({ rtoMax }: Liveness, silence: number, stuck: boolean): number {
  if (rtoMax === 0) return UNANSWERED_PROBES
  return stuck
    ? probesForStuckData(silence)
    : probesForClosedWindow(silence, rtoMaxForClosedWindow(silence))
}

function findingOf(
  { looked, since, unanswered, stalled, expiredEnough }: Liveness,
  { sinceAck, answerTime }: Outstanding,
  silence: number,
): Finding['peer'] {
  // The answer to the last of the probes may still be under way.
  const overdue = looked - answerTime
  // An idle peer has a long silence behind it: what waits must have waited as long.
  if (unanswered <= overdue && Math.min(sinceAck, looked - since) >= silence) return 'silent'
  if (expiredEnough <= overdue && looked - stalled >= silence) return 'stalled'
  return 'alive'
}

/**
 * Lets a slow reader's answers come often. Only while its window is closed: with data in flight a
 * small bound would make tcp_retries2 end the connection.
 */
function boundOf(
  { looked, progress }: Liveness,
  { inFlight, sinceAck }: Outstanding,
  silence: number,
  retries2: number | undefined,
): number {
  if (inFlight === 0) return rtoMaxForClosedWindow(silence)
  const lasting = rtoMaxForStuckData(silence, looked - progress - sinceAck, retries2)
  return aheadOfSilence(lasting, sinceAck)
}

/** The part of the silence for which a peer that gives no reason to doubt it is not looked at. */
const UNDOUBTED = 1 / 8
const MAX_UNDOUBTED = 30_000

/**
 * When to look again at a connection for which nothing waits, or which makes progress: nothing can
 * be concluded about it before a whole silence has passed. What begins meanwhile is found late by
 * an eighth of the silence at most, a tenth of the time that was asked for.
 */
export function nextLook(silence: number): number {
  return Math.max(SWEEP_PERIOD, Math.min(MAX_UNDOUBTED, silence * UNDOUBTED))
}

/** @param before The acknowledged bytes at the look before, `NOTHING` where nothing waited then. */
export function isUndoubted(before: number, outstanding: Outstanding): boolean {
  const { waits, window, acknowledged } = outstanding
  return waits <= 0 || (window > 0 && acknowledged !== before)
}
