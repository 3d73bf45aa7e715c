/**
 * Whether a peer is alive: from what waits for it, which probes were sent, and what it has
 * answered. Pure: numbers in, a finding out. Here a probe is any segment that the peer must
 * answer: a retransmission or a window probe.
 *
 * Two clocks run while something waits. The first counts from the peer's last acknowledgement.
 * The second counts from the last progress, an acknowledgement of new data, and runs only while
 * the window is open. Both are needed: a peer that keeps sending although our segments do not
 * arrive restarts the first, and the second would end slow readers if it also ran while the
 * window is closed. Neither ends a connection before probes have gone unanswered.
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

/** `Outstanding` of native/sockopt.h, which describes each field. */
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

/** How many numbers `sweep` of the binding has for each connection. */
export const OUTSTANDING_FIELDS = 11

/** What `sweep` of the binding has returned for its nth connection. */
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

/** What is known of one peer while something waits for it. Times are milliseconds of `observe`'s clock. */
export interface Liveness {
  /** The last look. */
  looked: number
  /** When something began to wait; it may be later than that, but not later than the look that found it. */
  since: number
  /** The low bits of the count of acknowledged bytes, and when it last changed. */
  acknowledged: number
  progress: number
  /** The window has been closed since then, as far as can be seen. */
  closed: boolean
  /** The retransmissions and timer expiries up to the peer's last answer. */
  retransmitted: number
  timeouts: number
  /** Since when enough probes have been unanswered. */
  unanswered: number
  /** The second clock's start, the expiries until then, and since when there have been enough. */
  stalled: number
  expired: number
  expiredEnough: number
  /** The segments without data, up to the last look. */
  bare: number
  /** TCP_RTO_MAX_MS as the sweep has written it; 0 while it is the host's default. */
  rtoMax: number
}

export interface Finding {
  /** `silent`: timed out by the first clock. `stalled`: by the second. Both end the connection. */
  readonly peer: 'alive' | 'silent' | 'stalled'
  /** The TCP_RTO_MAX_MS to use from now on; 0: the host's default. */
  readonly rtoMax: number
}

/** Not a count of acknowledged bytes: nothing was waiting. */
export const NOTHING = -1

/** @param before The time of the last look that found nothing waiting, or when the sweep began. */
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
/** While the window is open, the answer to a retransmission that arrives is progress. */
const PROBES_IN_FLIGHT = 2

/**
 * One look at a connection for which something waits. `silence` is the limit from the settings,
 * `host` the host's defaults. The caller writes `rtoMax` and, if that succeeds, stores it in `state`.
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
  // Before Linux 6.6, and so without the option, the kernel ignores that a window closes on data
  // in flight. A slow reader's answers are then bare acknowledgements, and the window looks open.
  const answers = !bounded && bare !== state.bare
  // A window that opens briefly without progress still counts as closed. (-1: the kernel lacks the field.)
  const closed = window <= 0 || ((state.closed || answers) && !moved)

  if (moved) {
    state.progress = now
    // The data that waits now may be much newer than what waited at the last look.
    state.since = Math.max(state.since, now - waited)
  }
  // It has answered since the last look: earlier probes no longer count.
  if (sinceAck <= now - state.looked + TICKS) {
    state.retransmitted = retransmitted
    // At a first look they are unanswered if nothing has arrived since the data was sent.
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

/** Without TCP_RTO_MAX_MS, probes are far apart, so each lost probe leaves a long gap. */
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
  // The answer to the last probe may still be in flight.
  const overdue = looked - answerTime
  // A peer that was idle has been silent for long already: the data must have waited as long, too.
  if (unanswered <= overdue && Math.min(sinceAck, looked - since) >= silence) return 'silent'
  if (expiredEnough <= overdue && looked - stalled >= silence) return 'stalled'
  return 'alive'
}

/**
 * Makes the kernel probe a closed window often. Only while the window is closed: with data in
 * flight a small bound would make tcp_retries2 end the connection.
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

/** The interval between looks at a peer that is not in doubt, as a fraction of the silence. */
const UNDOUBTED = 1 / 8
const MAX_UNDOUBTED = 30_000

/**
 * Milliseconds until the next look at a connection for which nothing waits, or which makes
 * progress: it cannot be timed out before a whole silence has passed. A silence that begins
 * in between is found late by at most an eighth of its length, about a tenth of the time that
 * was set.
 */
export function nextLook(silence: number): number {
  return Math.max(SWEEP_PERIOD, Math.min(MAX_UNDOUBTED, silence * UNDOUBTED))
}

/** @param before The acknowledged bytes at the previous look, `NOTHING` if nothing waited then. */
export function isUndoubted(before: number, outstanding: Outstanding): boolean {
  const { waits, window, acknowledged } = outstanding
  return waits <= 0 || (window > 0 && acknowledged !== before)
}
