import { invalidType, invalidValue, outOfRange, received, unpolluted } from '../errors.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS } from '../options/socket-options.js'
import { rtoMaxForClosedWindow, SILENCE } from './closed-window.js'
import { type DetectionTime, kernelDetectionTime } from './rules.js'
import type { SystemDefaults } from './system-defaults.js'
import { LATE } from './timers.js'

/** Whether a live peer that does not read is kept or disconnected: see `setDeadPeerTimeout`. */
export type SlowReader = 'keep' | 'end'

/** The options of `setDeadPeerTimeout`. */
export interface DeadPeerOptions {
  /**
   * `'keep'`: a live peer that does not read is never disconnected. Requires Linux' own TCP_INFO.
   * `'end'`: it is disconnected after the same time, as with TCP_USER_TIMEOUT.
   * Omitted: `'keep'` where that is available, else `'end'`; the plan says which.
   */
  slowReader?: SlowReader | undefined
}

/** What `setDeadPeerTimeout` sets, and the resulting detection times. Plain data, ready to log. */
export interface DeadPeerPlan {
  /** The requested time, in milliseconds. */
  readonly ms: number
  /** Whether a live peer that does not read is kept or disconnected. */
  readonly slowReader: SlowReader
  /** TCP_KEEPIDLE, seconds. */
  readonly idle: number
  /** TCP_KEEPINTVL, seconds. */
  readonly interval: number
  /** TCP_KEEPCNT, probes. */
  readonly count: number
  /** TCP_USER_TIMEOUT until the connection is established, milliseconds. */
  readonly connectTimeout: number
  /** TCP_USER_TIMEOUT from then on, milliseconds; 0 with `'keep'`, because it would disconnect slow readers. */
  readonly userTimeout: number
  /**
   * TCP_RTO_MAX_MS, milliseconds. With `'keep'` only while the peer's window is closed;
   * with `'end'` the host's default, in case another value was inherited. `null` on a kernel
   * without the option (before Linux 6.15).
   */
  readonly rtoMax: number | null
  /**
   * With `'keep'`: **milliseconds** after which the sweep ends a connection, if during all that
   * time data was outstanding and the peer acknowledged nothing; or, while the window is open,
   * acknowledged nothing new. Probes must also have gone unanswered: two retransmissions, or up
   * to six probes of a closed window, which may take longer. 0 with `'end'`, which needs no sweep.
   */
  readonly silence: number
  /**
   * **Milliseconds**: a shorter outage of the path ends no healthy idle connection, whenever it begins,
   * because at least one keepalive probe is sent after it. A longer one may.
   * `null` where keepalive is off. With data in flight it is about four tenths of `ms`: the next
   * retransmission may come as long after the outage as the outage lasted.
   */
  readonly survivesOutage: number | null
  /** When a silent peer becomes an error, by the kernel's rules, without the path's RTT. */
  readonly detection: DetectionTime
}

/** With less, one lost probe would end a live connection: probes are whole seconds apart. */
export const MIN_DEAD_PEER_TIMEOUT = 2000

/** Linux' default; with three, a path that loses 10 % ends live connections every day. */
const KEEPALIVE_PROBES = 9
/** No error before this fraction of the time, and none more than `GRACE` after it, at an RTT up to 100 ms. */
const EARLIEST = 0.7
const GRACE = 1000

/** Checks the arguments of `setDeadPeerTimeout` and `planDeadPeerTimeout`; returns `slowReader`. */
export function checkDeadPeerTimeout(ms: unknown, options: unknown): SlowReader | undefined {
  if (typeof ms !== 'number') throw invalidType('ms', 'a number of milliseconds', ms)
  if (
    ms !== 0 &&
    !(Number.isInteger(ms) && ms >= MIN_DEAD_PEER_TIMEOUT && ms <= MAX_MILLISECONDS)
  ) {
    throw outOfRange(
      'ms',
      `0 (restores the defaults) or a whole number of milliseconds from ${MIN_DEAD_PEER_TIMEOUT} to ${MAX_MILLISECONDS}`,
      ms,
      ms > 0 && ms < MIN_DEAD_PEER_TIMEOUT
        ? 'Keepalive counts whole seconds, so the minimum is one second to the first probe and one more to its timeout.'
        : '',
    )
  }
  if (options === undefined) return undefined
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalidType('options', "an object such as { slowReader: 'keep' }", options)
  }
  for (const key of Object.keys(options)) {
    if (key !== 'slowReader')
      throw invalidValue(
        `Unknown field options.${key}. The only field is slowReader: 'keep' or 'end'.`,
      )
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
 * Three limits of the kernel remain. tcp_syn_retries ends a connect after about 130 s. With
 * `'keep'`, tcp_retries2 ends a connection with data in flight after about 924 s, and one whose
 * window closed on data in flight ends after 240 s without an answer. `detection` includes the
 * first two, but not the third. It does not include either that in this third state, a peer that
 * dies after the data has been stuck for long is noticed later than `silence`
 * (`probesForStuckData`).
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
    // A tenth less, because the last timer may be late.
    connectTimeout: Math.round(0.9 * ms),
    ...rest,
  }
  const detection = Object.freeze(kernelDetectionTime(settings, host))
  // At worst it begins right before the first probe, and must end before the last.
  const survivesOutage = 1000 * (keepalive.count - 1) * keepalive.interval
  return Object.freeze({ ms, slowReader, ...settings, survivesOutage, detection })
}

/** The plan for 0: keepalive off, and the host's defaults. */
export function nothingPlanned(
  slowReader: SlowReader,
  host: SystemDefaults,
  platform: NodeJS.Platform = process.platform,
): DeadPeerPlan {
  const settings = {
    ...defaultKeepalive(host, platform),
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

/** The system's defaults, where they can be read, else as they are documented. */
function defaultKeepalive(host: SystemDefaults, platform: NodeJS.Platform): Keepalive {
  switch (platform) {
    case 'darwin':
    case 'freebsd':
      return { idle: 7200, interval: 75, count: 8 }
    case 'win32':
      // "SO_KEEPALIVE socket option" and "IPPROTO_TCP socket options" of Winsock. 0 is not valid.
      return { idle: 7200, interval: 1, count: 10 }
    default:
      // gVisor's files contain 0, which is not a valid value of the option.
      return { idle: host.idle || 7200, interval: host.interval || 75, count: host.count || 9 }
  }
}

/**
 * No probes in the first half of the time, then up to nine: a lost probe, or a lost answer, must
 * not end a live connection, and a live peer answers the first that arrives. Only below
 * 2.5 s there is no time for a second probe (docs/hostile-network.md).
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
 * The user timeout, which the kernel checks when the keepalive timer expires: half an interval
 * before the last expiry, so that the intended expiry ends the connection.
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
 * By the sweep alone. A smaller TCP_RTO_MAX_MS is not used to time out data in flight earlier:
 * tcp_retries2 would then also end live peers, those that answer but have no room. The option
 * only makes the kernel probe a closed window often enough.
 */
function keepSlowReaders(ms: number, host: SystemDefaults): Rest {
  const silence = Math.floor(SILENCE * ms)
  const rtoMax = host.rtoMax === undefined ? null : rtoMaxForClosedWindow(silence)
  return { userTimeout: 0, rtoMax, silence }
}
