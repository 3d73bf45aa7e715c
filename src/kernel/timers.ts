/** How the kernel's timers behave. All times are in milliseconds. */

/** A timer is late by up to an eighth of its length (kernel/time/timer.c, the timer wheel). */
export const LATE = 1.125

/** TCP_RTO_MIN: the base of tcp_model_timeout(), whatever the path's own RTO is. */
export const RTO_BASE = 200

/** net.ipv4.tcp_retries2, if procfs does not show it. */
export const RETRIES2 = 15

/**
 * How long `retries` retransmissions take, with intervals that double up to `rtoMax`
 * (net/ipv4/tcp_timer.c, tcp_model_timeout).
 */
export function modelTimeout(retries: number, base: number, rtoMax: number): number {
  const doublings = Math.max(0, Math.floor(Math.log2(rtoMax / base)))
  if (retries <= doublings) return (2 * 2 ** retries - 1) * base
  return (2 * 2 ** doublings - 1) * base + (retries - doublings) * rtoMax
}

/** The minimum time of tcp_retries2 retransmissions with this bound on their interval. */
export function retriesTime(rtoMax: number, retries2: number = RETRIES2): number {
  return modelTimeout(retries2, RTO_BASE, rtoMax)
}

/**
 * When a timer set at `now` for `ms` expires. Each level of the wheel has 64 slots, 8 times as
 * wide as those of the level below, and a timer expires at the end of its slot
 * (calc_wheel_index, calc_index).
 */
export function expiry(now: number, ms: number, hz: number): number {
  const ticks = Math.ceil((ms * hz) / 1000)
  let slot = 1
  while (ticks >= 63 * slot) slot *= 8
  return ((Math.floor(((now * hz) / 1000 + ticks) / slot) + 1) * slot * 1000) / hz
}
