/**
 * Why the kernel has ended a connection. SO_ERROR has the reason, but reading it clears it, and
 * after a reset it is Node that must read it. So TCP_INFO, which outlives the connection, decides.
 */
import { kernelDetectionTime } from '../kernel/rules.js'
import type { SystemDefaults } from '../kernel/system-defaults.js'
import { LATE, retriesTime } from '../kernel/timers.js'

/** What TCP_INFO shows of a connection that has ended. Times in milliseconds. */
export interface EndedConnection {
  /** Consecutive retransmission timeouts without an answer. */
  readonly retransmits: number
  /** Consecutive keepalive or window probes without an answer. */
  readonly probes: number
  readonly rtt: number
  readonly rttVariation: number
  /** The retransmission timeout, doublings included. */
  readonly rto: number
  readonly sinceDataSent: number
  /** Since the peer's last segment. */
  readonly sinceSegment: number
  readonly sendWindow: number
}

/** Its options: seconds, seconds, probes, milliseconds, milliseconds. */
export interface OptionsInForce {
  readonly idle: number
  readonly interval: number
  readonly count: number
  readonly userTimeout: number
  readonly rtoMax: number
}

/** The kernel counts in ticks of up to ten milliseconds. */
const TICKS = 20

/**
 * Whether the kernel has timed out the connection, because probes or retransmissions were not
 * answered. A reset comes within a round trip of the segment that it answers. A timeout comes a
 * whole interval after the last probe or retransmission, and never early. In doubt it was a reset.
 */
export function hasTimedOut(
  ended: EndedConnection,
  inForce: OptionsInForce,
  host: SystemDefaults,
): boolean {
  const { retransmits, probes, sinceSegment, sinceDataSent, rto } = ended
  const { interval, count, userTimeout, rtoMax } = inForce
  const roundTrip = ended.rtt + 4 * ended.rttVariation
  if (retransmits > 0) {
    if (userTimeout === 0) {
      const bound = retriesTime(rtoMax, host.retries2)
      return sinceSegment >= bound - TICKS && sinceDataSent > roundTrip + TICKS
    }
    // The user timeout counts from the first retransmission, and cuts the last interval short
    // (tcp_clamp_rto_to_user_timeout), possibly to less than a round trip.
    const last = userTimeout - rto + (2 * rto) / 2 ** retransmits
    // Each earlier interval may have been late by an eighth.
    const isCut =
      sinceDataSent <= last * LATE + TICKS &&
      sinceDataSent >= last - (LATE - 1) * (userTimeout - last) - TICKS
    return sinceSegment >= userTimeout - TICKS && (isCut || sinceDataSent > roundTrip + TICKS)
  }
  const idle = kernelDetectionTime({ ...inForce, enabled: true }, host).idle as number
  const allSent = probes >= (userTimeout > 0 ? 1 : count)
  // Closer to the end of the last interval than to its probe, whose answer may be slow.
  const answered = idle - 1000 * interval + roundTrip
  if (
    allSent &&
    sinceSegment >= Math.min(idle, Math.max(idle - 500 * interval, answered)) - TICKS
  ) {
    return true
  }
  if (probes === 0 || ended.sendWindow > 0) return false
  // Window probes. With a user timeout the peer may have answered all of them.
  return userTimeout > 0 ? sinceDataSent >= userTimeout - TICKS : probes > (host.retries2 ?? 15)
}
