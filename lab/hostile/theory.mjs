// How likely a live peer is given up on a lossy path. Every packet is lost by itself with
// probability `loss` each way, or `ours` and `theirs`; an answer counts only when question and
// answer both arrive. Pure.
import {
  aheadOfSilence,
  probesForClosedWindow,
  probesForStuckData,
  rtoMaxForClosedWindow,
  UNANSWERED_PROBES,
} from '../../dist/kernel/closed-window.js'

/** That a question stays unanswered. */
export const unanswered = ({ loss = 0, ours = loss, theirs = loss }) =>
  1 - (1 - ours) * (1 - theirs)

/**
 * Idle: `count` probes in a row, unanswered. The part of the connections that is given up
 * within `seconds`.
 */
export function idleLoss({ idle, interval, count }, losses, seconds) {
  const fail = unanswered(losses)
  // alive[s]: of all connections, those whose silence begins at second s.
  const alive = [1]
  let dead = 0
  for (let s = 0; s < seconds; s++) {
    const here = alive[s] ?? 0
    for (let probe = 0; probe < count; probe++) {
      const heard = s + idle + probe * interval
      alive[heard] = (alive[heard] ?? 0) + here * fail ** probe * (1 - fail)
    }
    if (s + idle + count * interval <= seconds) dead += here * fail ** count
  }
  return dead
}

/**
 * When a segment is sent, in ms from the write: once, as a tail loss probe, then by the
 * retransmission timer, which doubles (net/ipv4/tcp_output.c, tcp_timer.c).
 */
function transmissions({ srtt, rto }, until) {
  const times = [0]
  let timer = rto
  for (let at = Math.min(2 * srtt + 200, rto); at < until; at += timer, timer *= 2) times.push(at)
  // The probe starts the timer anew; only what follows it doubles.
  return times
}

/** One segment, and nothing else under way: that it is never acknowledged in time. */
export function transferLoss({ silence, userTimeout }, path, losses) {
  const first = Math.min(2 * path.srtt + 200, path.rto) + path.rto
  // The sweep sees at its next look that something waits, and looks each half second.
  const phases = [50, 150, 250, 350, 450]
  const sum = phases.reduce((total, phase) => {
    const given = silence > 0 ? Math.ceil(silence / 500) * 500 + phase : first + userTimeout
    return total + unanswered(losses) ** transmissions(path, given - path.srtt).length
  }, 0)
  return sum / phases.length
}

/** Timers are late by half a slot of the wheel. */
const TYPICALLY_LATE = 1 + 1 / 32

/**
 * A window that is closed: that within `seconds` a live peer is given up. Where it has
 * closed upon data in flight (`uponData`) retransmissions probe it, and others decide.
 */
export function closedWindowLoss(plan, losses, seconds, uponData, rto = 220) {
  const fail = unanswered(losses)
  if (plan.silence > 0 && plan.rtoMax !== null) return boundedLoss(plan, fail, seconds, uponData)
  return unboundedLoss(plan, fail, seconds, uponData, rto)
}

/**
 * With TCP_RTO_MAX_MS. With stuck data the bound on the probes' distance, and so the
 * distance, grows with the silence (src/kernel/plan.ts), and fewer fit in. The bound is that of the last
 * look, a quarter of a second ago on average.
 */
function boundedLoss({ silence }, fail, seconds, uponData) {
  const rtoMax = rtoMaxForClosedWindow(silence)
  const next = (at) => {
    const sinceLastAck = uponData ? Math.max(0, at - 250) : 0
    return at + aheadOfSilence(rtoMax, sinceLastAck) * TYPICALLY_LATE
  }
  let fitting = 0
  for (let at = next(0); at < silence + 250; at = next(at)) fitting++
  // Data that has been stuck for long is probed more seldom, and that many are wanted.
  const questions = uponData
    ? probesForStuckData(silence)
    : Math.max(fitting, probesForClosedWindow(silence, rtoMax))
  const started = ((1000 * seconds) / next(0)) * (1 - fail)
  return 1 - (1 - fail ** questions) ** started
}

/** TCP_RTO_MAX, and what tcp_rtx_probe0_timed_out() allows without an answer, in ms. */
const LARGEST_RTO = 120_000
const KERNEL_LIMIT = 2 * LARGEST_RTO

/**
 * Without, or with nothing set: questions come at doubling distances, whatever is answered. The
 * sweep wants six unanswered; with stuck data the kernel itself gives up after 240 s.
 */
function unboundedLoss({ silence }, fail, seconds, uponData, rto) {
  const times = [0]
  for (let timer = rto; times.at(-1) <= 1000 * seconds; timer = Math.min(2 * timer, LARGEST_RTO))
    times.push(times.at(-1) + timer * TYPICALLY_LATE)
  let kept = 1
  times.forEach((answered, i) => {
    const rest = times.slice(i + 1)
    const bySweep = (at, nth) => silence > 0 && nth >= UNANSWERED_PROBES && at - answered >= silence
    // The timer that finds the time over asks no more.
    const byKernel = (at) => uponData && at - answered > KERNEL_LIMIT
    const end = rest.findIndex((at, j) => bySweep(at, j + 1) || byKernel(at))
    if (end < 0 || rest[end] > 1000 * seconds) return
    const lost = byKernel(rest[end]) ? end : end + 1
    kept *= 1 - (1 - fail) * fail ** lost
  })
  return 1 - kept
}
