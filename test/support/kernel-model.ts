// A second, independent account of the kernel's timers: where src/kernel/rules.ts
// is arithmetic, this plays each timer out, with the timer wheel's lateness at
// a given tick rate and phase. What the plan promises must hold in every one.

export interface Clock {
  /** Ticks a second. */
  readonly hz: number
  /** The tick at which the peer dies, anywhere in the wheel. */
  readonly start: number
}

export interface Socket {
  readonly idle: number
  readonly interval: number
  readonly count: number
  readonly userTimeout: number
  readonly rtoMax: number | null
}

export interface Path {
  readonly srtt: number
  readonly rto: number
}

/** kernel/time/timer.c, calc_wheel_index() and calc_index(). */
function expiry(now: number, ms: number, hz: number): number {
  const ticks = Math.max(1, Math.ceil((ms * hz) / 1000))
  let slot = 1
  while (ticks >= 63 * slot) slot *= 8
  return (Math.floor((now + ticks) / slot) + 1) * slot
}

class Timers {
  now: number
  readonly clock: Clock
  constructor(clock: Clock) {
    this.clock = clock
    this.now = clock.start
  }
  wait(ms: number): void {
    this.now = expiry(this.now, ms, this.clock.hz)
  }
  get elapsed(): number {
    return ((this.now - this.clock.start) * 1000) / this.clock.hz
  }
}

/** tcp_keepalive_timer(); the timer had been set `armedBefore` ms before the last segment. */
export function idleDeath(socket: Socket, clock: Clock, armedBefore: number): number {
  const timers = new Timers(clock)
  timers.now -= Math.round((armedBefore * clock.hz) / 1000)
  timers.wait(socket.idle * 1000)
  let probes = 0
  for (;;) {
    if (timers.elapsed < socket.idle * 1000) {
      timers.wait(socket.idle * 1000 - Math.max(0, timers.elapsed))
      continue
    }
    const over =
      socket.userTimeout > 0
        ? probes > 0 && timers.elapsed >= socket.userTimeout
        : probes >= socket.count
    if (over) return timers.elapsed
    probes++
    timers.wait(socket.interval * 1000)
  }
}

function model(retries: number, base: number, rtoMax: number): number {
  let doubled = base
  let sum = base
  for (let retry = 0; retry < retries; retry++) {
    doubled = doubled * 2 <= rtoMax ? doubled * 2 : Number.POSITIVE_INFINITY
    sum += Math.min(doubled, rtoMax)
  }
  return sum
}

/** tcp_schedule_loss_probe(), then tcp_retransmit_timer() until tcp_write_timeout() ends it. */
export function inFlightDeath(socket: Socket, clock: Clock, path: Path, retries2: number): number {
  const rtoMax = socket.rtoMax ?? 120_000
  const timers = new Timers(clock)
  let rto = Math.min(path.rto, rtoMax)
  timers.wait(Math.min(2 * path.srtt + 200, rto))
  timers.wait(rto)
  const first = timers.elapsed
  const limit = socket.userTimeout > 0 ? socket.userTimeout : model(retries2, 200, rtoMax)
  for (;;) {
    rto = Math.min(2 * rto, rtoMax)
    const left = limit - (timers.elapsed - first)
    timers.wait(socket.userTimeout > 0 ? Math.min(rto, Math.max(left, 1)) : rto)
    if (timers.elapsed - first >= limit) return timers.elapsed
  }
}

/** tcp_probe_timer(), from the last answer, which found the interval `backoff` times doubled. */
export function zeroWindowDeath(
  socket: Socket,
  clock: Clock,
  rto: number,
  backoff: number,
  retries2: number,
): { death: number; probes: number[] } {
  const rtoMax = socket.rtoMax ?? 120_000
  const timers = new Timers(clock)
  const probes: number[] = []
  for (let doubled = backoff; ; doubled++) {
    timers.wait(Math.min(Math.max(rto, 200) * 2 ** Math.min(doubled, retries2, 10), rtoMax))
    if (probes.length >= retries2) return { death: timers.elapsed, probes }
    probes.push(timers.elapsed)
  }
}

/**
 * tcp_rtx_probe0_timed_out(), from the last answer of a peer whose window closed upon
 * data in flight; `bound` is TCP_RTO_MAX_MS at a time. Until `end`, then the sweep's.
 */
export function shrunkWindowDeath(
  bound: (now: number) => number,
  clock: Clock,
  firstRto: number,
  end: number,
): { death: number; probes: number } {
  const timers = new Timers(clock)
  let rto = firstRto
  for (let probes = 0; ; probes++) {
    timers.wait(rto)
    if (timers.elapsed >= end) return { death: end, probes }
    const rtoMax = bound(timers.elapsed)
    if (timers.elapsed > 2 * rtoMax) return { death: timers.elapsed, probes }
    rto = Math.min(2 * rto, rtoMax)
  }
}

/** tcp_retransmit_timer() in SYN-SENT. */
export function connectDeath(
  userTimeout: number,
  clock: Clock,
  synRetries: number,
  linear: number,
): number {
  const timers = new Timers(clock)
  const limit = userTimeout > 0 ? userTimeout : model(synRetries, 1000, 120_000)
  let rto = 1000
  for (let sent = 0; ; ) {
    timers.wait(
      sent > 0 && userTimeout > 0 ? Math.min(rto, Math.max(limit - timers.elapsed, 1)) : rto,
    )
    if (sent >= synRetries + linear || (sent > 0 && timers.elapsed >= limit)) return timers.elapsed
    sent++
    if (sent > linear) rto = Math.min(2 * rto, 120_000)
  }
}

/** A sweep every `period`, which begins `phase` after the write. */
export function sweepDeath(
  silence: number,
  period: number,
  phase: number,
  secondUnanswered: number,
): number {
  for (let now = phase; ; now += period) {
    if (now - phase >= silence && now >= silence && now >= secondUnanswered) return now
  }
}
