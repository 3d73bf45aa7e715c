import { invalidType, invalidValue, outOfRange, received, unpolluted } from '../errors.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS } from '../options/socket-options.js'
import { rtoMaxForClosedWindow, SILENCE } from './closed-window.js'
import { type DetectionTime, kernelDetectionTime } from './rules.js'
import type { SystemDefaults } from './system-defaults.js'
import { LATE } from './timers.js'

/** What becomes of a live peer that does not read: see `setDeadPeerTimeout`. */
export type SlowReader = 'keep' | 'end'

/** What `setDeadPeerTimeout` takes beside the time. */
export interface DeadPeerOptions {
  /**
   * `'keep'`: a live peer that does not read is never ended. It needs Linux' own TCP_INFO.
   * `'end'`: it is, after the same time, as TCP_USER_TIMEOUT has it.
   * Omitted: `'keep'` where that can be had, else `'end'`; the plan says which.
   */
  slowReader?: SlowReader | undefined
}

/** What `setDeadPeerTimeout` sets, and what comes of it. Plain data, ready to log. */
export interface DeadPeerPlan {
  /** The time that was asked for, in milliseconds. */
  readonly ms: number
  /** What becomes of a live peer that does not read. */
  readonly slowReader: SlowReader
  /** TCP_KEEPIDLE, seconds. */
  readonly idle: number
  /** TCP_KEEPINTVL, seconds. */
  readonly interval: number
  /** TCP_KEEPCNT, probes. */
  readonly count: number
  /** TCP_USER_TIMEOUT until the connection stands, milliseconds. */
  readonly connectTimeout: number
  /** TCP_USER_TIMEOUT from then on, milliseconds; 0 with `'keep'`, as it would end slow readers. */
  readonly userTimeout: number
  /**
   * TCP_RTO_MAX_MS, milliseconds. With `'keep'` only while the peer's window is closed;
   * with `'end'` the host's default, in case another was inherited. `null` on a kernel
   * without the option (before Linux 6.15).
   */
  readonly rtoMax: number | null
  /**
   * With `'keep'`: the milliseconds without an acknowledgement, with data outstanding for as
   * long, after which the sweep ends a connection; or, while the window is open, without an
   * acknowledgement of anything new. Questions must have gone unanswered: two
   * retransmissions, up to six behind a closed window, which may take longer. 0 with `'end'`,
   * which needs no sweep.
   */
  readonly silence: number
  /**
   * **Milliseconds**: an outage of the path that is shorter ends no healthy idle connection, whenever
   * it begins, because one keepalive probe at least goes out after it. A longer one may.
   * `null` where keepalive is off. With data in flight it is about four tenths of `ms`: the next
   * retransmission may be as far away as the outage was long.
   */
  readonly survivesOutage: number | null
  /** When a silent peer is an error, by the kernel's rules, without the path's RTT. */
  readonly detection: DetectionTime
}

/** Below this, one lost probe would end a live connection: probes are whole seconds apart. */
export const MIN_DEAD_PEER_TIMEOUT = 2000

/** Linux' own number; with three a path that loses 10 % ends live connections every day. */
const KEEPALIVE_PROBES = 9
/** No error before this part of the time, and none later than `GRACE` after it, at an RTT up to 100 ms. */
const EARLIEST = 0.7
const GRACE = 1000

/** Checks the arguments of `setDeadPeerTimeout` and `planDeadPeerTimeout`; gives `slowReader`. */
export function checkDeadPeerTimeout(ms: unknown, options: unknown): SlowReader | undefined {
  if (typeof ms !== 'number') throw invalidType('ms', 'a number of milliseconds', ms)
  if (
    ms !== 0 &&
    !(Number.isInteger(ms) && ms >= MIN_DEAD_PEER_TIMEOUT && ms <= MAX_MILLISECONDS)
  ) {
    throw outOfRange(
      'ms',
      `0 (take it back) or a whole number of milliseconds from ${MIN_DEAD_PEER_TIMEOUT} to ${MAX_MILLISECONDS}`,
      ms,
      ms > 0 && ms < MIN_DEAD_PEER_TIMEOUT
        ? 'The kernel counts keepalive in whole seconds, and less than one second until the first probe and one until its answer is missed does not exist.'
        : '',
    )
  }
  if (options === undefined) return undefined
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidType('options', "an object such as { slowReader: 'keep' }", options)
  }
  for (const key of Object.keys(options)) {
    if (key !== 'slowReader')
      throw invalidValue(`Unknown field options.${key}. There is slowReader: 'keep' or 'end'.`)
  }
  const { slowReader } = unpolluted<{ slowReader?: unknown }>(options, ['slowReader'])
  if (slowReader !== undefined && slowReader !== 'keep' && slowReader !== 'end') {
    throw invalidValue(
      `Expected 'keep' or 'end' for options.slowReader but received ${received(slowReader)}.`,
    )
  }
  return slowReader
}

/**
 * The settings for a time that `checkDeadPeerTimeout` has accepted, on a host
 * that is described by its defaults. Pure.
 *
 * Three limits are the kernel's and stay. A connect ends by tcp_syn_retries, after about
 * 130 s. With `'keep'`, data in flight ends by tcp_retries2, after about 924 s, and a
 * window that closed upon data in flight after 240 s without an answer. `detection`
 * tells the first two. Nor does it tell that there a peer which dies after the data has been
 * stuck for long is noticed later than `silence` (`probesForStuckData`).
 */
export function deadPeerPlan(
  ms: number,
  slowReader: SlowReader,
  host: SystemDefaults,
): DeadPeerPlan {
  const keepalive = keepaliveFor(ms)
  const rest =
    slowReader === 'end' ? endSlowReaders(ms, keepalive, host) : keepSlowReaders(ms, host)
  const settings = {
    ...keepalive,
    // A tenth off, as the last timer may be late.
    connectTimeout: Math.round(0.9 * ms),
    ...rest,
  }
  const detection = Object.freeze(kernelDetectionTime(settings, host))
  // At worst it begins right before the first probe, and must end before the last.
  const survivesOutage = 1000 * (keepalive.count - 1) * keepalive.interval
  return Object.freeze({ ms, slowReader, ...settings, survivesOutage, detection })
}

/** What takes a plan back: keepalive off, and everything as the host has it. */
export function nothingPlanned(slowReader: SlowReader, host: SystemDefaults): DeadPeerPlan {
  const settings = {
    // gVisor tells 0, which no socket takes.
    idle: host.idle || 7200,
    interval: host.interval || 75,
    count: host.count || 9,
    connectTimeout: 0,
    userTimeout: 0,
    rtoMax: host.rtoMax ?? null,
    silence: 0,
  }
  const detection = Object.freeze(kernelDetectionTime({ ...settings, enabled: false }, host))
  return Object.freeze({ ms: 0, slowReader, ...settings, survivesOutage: null, detection })
}

interface Keepalive {
  readonly idle: number
  readonly interval: number
  readonly count: number
}

/**
 * Half of the time quiet, then as many as nine probes: a lost one, or a lost answer, must
 * not end a live connection, and a live one answers the first that arrives. Only below
 * 2.5 s there is no room for a second (docs/hostile-network.md).
 */
function keepaliveFor(ms: number): Keepalive {
  const total = Math.floor((ms + 0.875 * GRACE) / (1000 * LATE))
  let count = Math.min(KEEPALIVE_PROBES, Math.max(Math.floor(total / 2), Math.min(3, total - 1)))
  let interval = Math.max(1, Math.floor(total / (2 * count)))
  if (total - count * interval > MAX_SECONDS) {
    count = Math.min(MAX_COUNT, Math.max(count, Math.ceil((total - MAX_SECONDS) / MAX_SECONDS)))
    interval = Math.floor((total - MAX_SECONDS) / count)
  }
  return { idle: Math.min(MAX_SECONDS, total - count * interval), interval, count }
}

type Rest = Pick<DeadPeerPlan, 'userTimeout' | 'rtoMax' | 'silence'>

/**
 * The user timeout, which the kernel looks at in keepalive's ticks: half an
 * interval before the last, so that the tick meant is the tick that decides.
 */
function endSlowReaders(
  ms: number,
  { idle, interval, count }: Keepalive,
  host: SystemDefaults,
): Rest {
  const beforeLast = 1000 * (idle + (count - 0.5) * interval)
  const userTimeout = Math.max(beforeLast, Math.ceil(EARLIEST * ms))
  return { userTimeout, rtoMax: host.rtoMax ?? null, silence: 0 }
}

/**
 * By the sweep alone. Data in flight is not given up earlier by a smaller
 * TCP_RTO_MAX_MS: tcp_retries2 then ends live peers too, those that answer but have no
 * room. The option only makes a closed window's probes come often enough.
 */
function keepSlowReaders(ms: number, host: SystemDefaults): Rest {
  const silence = Math.floor(SILENCE * ms)
  const rtoMax = host.rtoMax === undefined ? null : rtoMaxForClosedWindow(silence)
  return { userTimeout: 0, rtoMax, silence }
}
