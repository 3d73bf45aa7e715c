/**
 * A peer with a closed window, which proves it is alive only by answering probes.
 *
 * The kernel doubles the interval between window probes, up to 120 s (TCP_RTO_MAX). So a peer
 * that dies behind a closed window is noticed after minutes, whatever `ms` is. TCP_RTO_MAX_MS
 * (Linux 6.15) bounds the interval, so that such a peer, too, is noticed in time. The sweep sets
 * it, and only while the window is closed: with data in flight the same bound makes tcp_retries2
 * end live peers on a lossy path. Without the option (an older kernel) six probes must still go
 * unanswered, which takes as long as the kernel's intervals.
 *
 * What must hold, and where it is shown:
 * - A live peer is kept. Ten probes fit into the time, and six in a row must be lost. At 5 %
 *   loss each way (one probe or its answer in ten) that happens to 0.004 of 450 slow readers
 *   (test/liveness.test.ts for every sequence of losses and looks; docs/hostile-network.md for 450
 *   real ones).
 * - The kernel does not end it either. With stuck data it counts tcp_retries2 from the last
 *   progress (retransmits_timed_out) and twice the bound from the last answer
 *   (tcp_rtx_probe0_timed_out): the two functions for stuck data avoid both.
 * - A dead peer is noticed within `ms` if no data was stuck (docs/detection.md).
 */
import { LATE, retriesTime } from './timers.js'

/** The range of TCP_RTO_MAX_MS. */
const MIN_RTO_MAX = 1000
const MAX_RTO_MAX = 120_000

/** How many probes must go unanswered, if answers are a live peer's only segments. */
export const UNANSWERED_PROBES = 6

/**
 * TCP_RTO_MAX_MS while the peer's window is closed: ten probes fit into the silence, because
 * any of them may be lost. With shorter intervals the kernel (tcp_retries2) would time out a
 * long silence before the sweep does.
 */
export function rtoMaxForClosedWindow(silence: number): number {
  return Math.min(MAX_RTO_MAX, Math.max(MIN_RTO_MAX, Math.ceil(silence / 10)))
}

/** Fewer than six if, even with the smallest bound, six do not fit into the silence. */
export function probesForClosedWindow(silence: number, rtoMax: number): number {
  if (rtoMax > MIN_RTO_MAX) return UNANSWERED_PROBES
  return Math.max(2, Math.min(UNANSWERED_PROBES, Math.floor(silence / (LATE * rtoMax))))
}

/**
 * TCP_RTO_MAX_MS if data was in flight when the window closed, so that retransmissions are the
 * probes. When the window opens a little, the kernel ends the connection if the time of
 * tcp_retries2 has passed since the last progress, however often the peer has answered
 * (net/ipv4/tcp_timer.c, retransmits_timed_out). A larger bound makes that time longer.
 *
 * @param stuck For how many milliseconds the peer has answered without accepting data.
 */
export function rtoMaxForStuckData(
  silence: number,
  stuck: number,
  retries2: number | undefined,
): number {
  let bound = rtoMaxForClosedWindow(silence)
  // On a host with a small tcp_retries2 no bound makes it long enough.
  if (retriesTime(MAX_RTO_MAX, retries2) < silence) return bound
  while (bound < MAX_RTO_MAX && retriesTime(bound, retries2) < stuck + silence) bound *= 1.1
  return Math.min(MAX_RTO_MAX, Math.ceil(bound))
}

/**
 * With stuck data the kernel also times out after twice the bound without an answer
 * (tcp_rtx_probe0_timed_out). The bound must be large enough until the next look, which a busy
 * event loop may delay: a live peer is kept even if it is late by 1.2 times the bound.
 */
export function aheadOfSilence(rtoMax: number, sinceAck: number): number {
  return Math.min(MAX_RTO_MAX, Math.max(rtoMax, Math.ceil(0.51 * sinceAck + 0.6 * rtoMax)))
}

/** How late a timer typically is, used where adding up the worst case would be far too much. */
const TYPICALLY_LATE = 1 + 1 / 32

/** The fraction of `ms` after which the sweep ends a connection: the rest is for its looks and for late timers. */
export const SILENCE = 0.85

/** As `probesForClosedWindow`, for stuck data: as many as fit into the whole of `ms`. */
export function probesForStuckData(silence: number): number {
  const ms = silence / SILENCE
  const rtoMax = rtoMaxForClosedWindow(silence)
  let probes = 0
  const next = (at: number): number => at + aheadOfSilence(rtoMax, at) * TYPICALLY_LATE
  for (let at = next(0); at < ms; at = next(at)) probes++
  return Math.max(2, Math.min(UNANSWERED_PROBES, probes))
}
