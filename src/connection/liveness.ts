/**
 * What the sweep concludes about a peer: from what waits for it, what it has been asked
 * and what it has answered. Pure: numbers in, a verdict out.
 *
 * Two clocks run while something waits. The first counts from the peer's last
 * acknowledgement of anything. The second counts from the last progress, an acknowledgement
 * of something new, and runs only while the window is open: a peer that goes on sending
 * although nothing of ours arrives stops the first, and a slow reader would be ended by the
 * second. Neither ends a connection before questions have gone unanswered.
 */

import {
  aheadOfSilence,
  questionsOfStuckData,
  rtoMaxForClosedWindow,
  rtoMaxForStuckData,
} from '../kernel/plan.js'
import { QUESTIONS, questionsOfClosedWindow } from '../kernel/rules.js'
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
}

/** So many numbers `sweep` has for each connection. */
export const OUTSTANDING_FIELDS = 10

/** What `sweep` has answered about its nth connection. */
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
  }
}

/** What is known of one connection; times in milliseconds, on the clock of `observe`. */
export interface Silence {
  /** The last look. */
  looked: number
  /** When something began to wait for the peer; 0 when nothing does. */
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

export interface Verdict {
  /** `silent`: by the first clock. `stalled`: by the second. Both end the connection. */
  readonly peer: 'alive' | 'silent' | 'stalled'
  /** TCP_RTO_MAX_MS to be in force from now on; 0: the host's own. */
  readonly rtoMax: number
}

export function nothingKnown(): Silence {
  return {
    looked: -Infinity,
    since: 0,
    acknowledged: -1,
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
const QUESTIONS_IN_FLIGHT = 2

/**
 * One look. `silence` is what the settings allow, `host` has what the kernel knows; the
 * caller writes `rtoMax` and, when that has succeeded, keeps it in `state`.
 */
export function observe(
  state: Silence,
  outstanding: Outstanding,
  now: number,
  silence: number,
  host: SystemDefaults,
): Verdict {
  const { inFlight, window, sinceAck, acknowledged, retransmitted, timeouts, bare } = outstanding
  const waits = outstanding.waits > 0
  const moved = !waits || acknowledged !== state.acknowledged
  const bounded = host.rtoMax !== undefined
  // A kernel before 6.6, and so without the option, ignores the closing of a window upon data
  // in flight: there a slow reader's answers are bare acknowledgements, and the window looks open.
  const answers = !bounded && bare !== state.bare
  // A window that opens a little, and for a moment, changes nothing. (-1: the kernel does not say.)
  const closed = waits && (window <= 0 || ((state.closed || answers) && !moved))

  if (!waits) state.since = 0
  else if (state.since === 0) state.since = now
  if (moved) state.progress = now
  // It has answered since the last look: all questions before that are over.
  if (!waits || sinceAck <= now - state.looked + TICKS) {
    state.retransmitted = retransmitted
    state.timeouts = timeouts
    state.unanswered = Infinity
  }
  if (moved || inFlight === 0 || window <= 0 || answers) {
    state.stalled = now
    state.expired = timeouts
    state.expiredEnough = Infinity
  }
  state.acknowledged = acknowledged
  state.closed = closed
  state.bare = bare
  state.looked = now

  const questions = closed ? questionsOf(state, silence, inFlight > 0) : QUESTIONS_IN_FLIGHT
  const unanswered =
    inFlight === 0
      ? outstanding.probes
      : Math.max(retransmitted - state.retransmitted, timeouts - state.timeouts)
  state.unanswered = unanswered < questions ? Infinity : Math.min(state.unanswered, now)
  const expiries = closed ? QUESTIONS : QUESTIONS_IN_FLIGHT
  const expired = timeouts - state.expired
  state.expiredEnough = expired < expiries ? Infinity : Math.min(state.expiredEnough, now)

  return {
    peer: verdictOf(state, outstanding, silence),
    rtoMax: bounded && closed ? boundOf(state, outstanding, silence, host.retries2) : 0,
  }
}

/** Where no bound lets probes come often, any that is lost is a long silence. */
function questionsOf({ rtoMax }: Silence, silence: number, stuck: boolean): number {
  if (rtoMax === 0) return QUESTIONS
  return stuck
    ? questionsOfStuckData(silence)
    : questionsOfClosedWindow(silence, rtoMaxForClosedWindow(silence))
}

function verdictOf(
  { looked, since, unanswered, stalled, expiredEnough }: Silence,
  { sinceAck, answerTime }: Outstanding,
  silence: number,
): Verdict['peer'] {
  // The answer to the last of the questions may still be under way.
  const overdue = looked - answerTime
  // An idle peer has a long silence behind it: what waits must have waited as long.
  if (unanswered <= overdue && Math.min(sinceAck, looked - since) >= silence) return 'silent'
  if (expiredEnough <= overdue && looked - stalled >= silence) return 'stalled'
  return 'alive'
}

/**
 * A slow reader's only signs of life are its answers to window probes: lets them come
 * often. Only while its window is closed: with data in flight a small bound would make
 * tcp_retries2 end the connection.
 */
function boundOf(
  { looked, progress }: Silence,
  { inFlight, sinceAck }: Outstanding,
  silence: number,
  retries2: number | undefined,
): number {
  if (inFlight === 0) return rtoMaxForClosedWindow(silence)
  const lasting = rtoMaxForStuckData(silence, looked - progress - sinceAck, retries2)
  return aheadOfSilence(lasting, sinceAck)
}
