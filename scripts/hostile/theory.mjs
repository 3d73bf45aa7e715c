// How likely a live peer is given up on a lossy path. Every packet is lost by itself with
// probability `loss`, each way; an answer counts only when question and answer both arrive.
// Pure.
import { aheadOfSilence, rtoMaxForClosedWindow } from '../../dist/plan.js'

/** That a question stays unanswered. */
export const unanswered = (loss) => 1 - (1 - loss) ** 2

/**
 * Idle: `count` probes in a row, unanswered. The part of the connections that is given up
 * within `seconds`.
 */
export function idleLoss({ idle, interval, count }, loss, seconds) {
  const fail = unanswered(loss)
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
export function transferLoss({ silence, userTimeout }, path, loss) {
  const first = Math.min(2 * path.srtt + 200, path.rto) + path.rto
  // The sweep sees at its next look that something waits, and looks each half second.
  const phases = [50, 150, 250, 350, 450]
  const sum = phases.reduce((total, phase) => {
    const given = silence > 0 ? Math.ceil(silence / 500) * 500 + phase : first + userTimeout
    return total + unanswered(loss) ** transmissions(path, given - path.srtt).length
  }, 0)
  return sum / phases.length
}

/**
 * A window that is closed: that within `seconds` the silence is once long enough. Where it has
 * closed upon data in flight (`uponData`) the bound on the probes' distance, and so the
 * distance, grows with the silence (src/plan.ts), and fewer fit in; the longer that lasts the
 * rarer they are, and the longer is the silence that is wanted (not counted here). The bound is that of the last
 * look, a quarter of a second ago on average; timers are late by half a slot of the wheel.
 */
export function closedWindowLoss({ silence }, loss, seconds, uponData) {
  const fail = unanswered(loss)
  const next = (at) => {
    const sinceLastAck = uponData ? Math.max(0, at - 250) : 0
    return at + aheadOfSilence(rtoMaxForClosedWindow(silence), sinceLastAck) * (1 + 1 / 32)
  }
  let probes = 0
  for (let at = next(0); at < silence + 250; at = next(at)) probes++
  const started = ((1000 * seconds) / next(0)) * (1 - fail)
  return 1 - (1 - fail ** probes) ** started
}
