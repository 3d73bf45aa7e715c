/**
 * A peer whose window is closed, and who must answer to prove that it lives.
 *
 * Its only signs of life are the answers to window probes, which the kernel sends ever more
 * seldom: up to 120 s apart (TCP_RTO_MAX). On such a path a peer that dies is noticed after
 * minutes, whatever `ms` says. TCP_RTO_MAX_MS (Linux 6.15) bounds that interval, so that a dead
 * peer is noticed in time behind a closed window, too. It is set by the sweep, and only while the
 * window is closed: with data in flight the same bound makes tcp_retries2 end live peers on a
 * lossy path. Without the option (an older kernel) the rule of six probes still holds, and takes
 * as long as the kernel's intervals do.
 *
 * What has to be shown, and where it is:
 * - A live peer is kept. Of ten probes that fit into the time, six in a row must be lost: at 5 %
 *   loss each way (one probe or its answer in ten) that happens to 0.004 of 450 slow readers
 *   (test/liveness.test.ts for every course of losses and looks; docs/hostile-network.md for 450
 *   real ones).
 * - The kernel does not end it either. Upon stuck data it counts tcp_retries2 from the last
 *   progress (retransmits_timed_out) and twice the bound from the last answer
 *   (tcp_rtx_probe0_timed_out): the two functions for stuck data keep ahead of both.
 * - A dead peer is noticed within `ms`, where nothing was stuck (docs/detection.md).
 */
import { LATE, retriesTime } from './timers.js'

/** TCP_RTO_MAX_MS at the least, and at most. */
const MIN_RTO_MAX = 1000
const MAX_RTO_MAX = 120_000

/** So many probes must go unanswered, where a live peer does nothing but answer. */
export const UNANSWERED_PROBES = 6

/**
 * TCP_RTO_MAX_MS while the peer's window is closed: ten probes fit into the silence,
 * because any of them may be lost; with more, smaller ones a long time would be over
 * for the kernel (tcp_retries2) before it is for the sweep.
 */
export function rtoMaxForClosedWindow(silence: number): number {
  return Math.min(MAX_RTO_MAX, Math.max(MIN_RTO_MAX, Math.ceil(silence / 10)))
}

/** Fewer than six where the least bound does not let as many fit into the silence. */
export function probesForClosedWindow(silence: number, rtoMax: number): number {
  if (rtoMax > MIN_RTO_MAX) return UNANSWERED_PROBES
  return Math.max(2, Math.min(UNANSWERED_PROBES, Math.floor(silence / (LATE * rtoMax))))
}

/**
 * TCP_RTO_MAX_MS where data was in flight when the window closed: there retransmissions probe
 * it. Whenever the window opens a little, the kernel ends the connection if tcp_retries2 is
 * over since the last progress, however often the peer has answered
 * (net/ipv4/tcp_timer.c, retransmits_timed_out): the bound makes that last longer.
 *
 * @param stuck For how long the peer has answered, and taken nothing.
 */
export function rtoMaxForStuckData(
  silence: number,
  stuck: number,
  retries2: number | undefined,
): number {
  let bound = rtoMaxForClosedWindow(silence)
  // No bound helps on a host that times out so soon anyway.
  if (retriesTime(MAX_RTO_MAX, retries2) < silence) return bound
  while (bound < MAX_RTO_MAX && retriesTime(bound, retries2) < stuck + silence) bound *= 1.1
  return Math.min(MAX_RTO_MAX, Math.ceil(bound))
}

/**
 * With stuck data the kernel also times out after twice the bound without an answer
 * (tcp_rtx_probe0_timed_out): the bound must stay ahead of that until the next look, which a busy
 * event loop may make late: by 1.2 times the bound a live peer still is kept.
 */
export function aheadOfSilence(rtoMax: number, sinceAck: number): number {
  return Math.min(MAX_RTO_MAX, Math.max(rtoMax, Math.ceil(0.51 * sinceAck + 0.6 * rtoMax)))
}

/** What is typical of a timer, where the worst that can be would add up. */
const TYPICALLY_LATE = 1 + 1 / 32

/** The part of `ms` after which the sweep ends a connection: the rest is for its looks and for late timers. */
export const SILENCE = 0.85

/** As `probesForClosedWindow`, for stuck data: those that fit into the whole of `ms`. */
export function probesForStuckData(silence: number): number {
  const ms = silence / SILENCE
  const rtoMax = rtoMaxForClosedWindow(silence)
  let probes = 0
  const next = (at: number): number => at + aheadOfSilence(rtoMax, at) * TYPICALLY_LATE
  for (let at = next(0); at < ms; at = next(at)) probes++
  return Math.max(2, Math.min(UNANSWERED_PROBES, probes))
}
