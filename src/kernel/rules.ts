import { probesForClosedWindow } from './closed-window.js'
import type { SystemDefaults } from './system-defaults.js'
import { expiry, modelTimeout, RETRIES2, RTO_BASE } from './timers.js'

/** The settings that decide when a silent peer becomes an error. Omitted fields are the host's defaults. */
export interface DetectionSettings {
  /**
   * SO_KEEPALIVE. If omitted, it is on if `idle`, `interval` or `count` is present, as with
   * `setKeepalive`.
   */
  readonly enabled?: boolean | undefined
  /** TCP_KEEPIDLE in seconds. */
  readonly idle?: number | undefined
  /** TCP_KEEPINTVL in seconds. */
  readonly interval?: number | undefined
  /** TCP_KEEPCNT in probes; the kernel ignores it if there is a user timeout. */
  readonly count?: number | undefined
  /** TCP_USER_TIMEOUT in milliseconds; 0 is the kernel's default. */
  readonly userTimeout?: number | undefined
  /** TCP_USER_TIMEOUT in milliseconds while connecting, if different. */
  readonly connectTimeout?: number | undefined
  /** TCP_RTO_MAX_MS in milliseconds, once connected; `null` if not set. */
  readonly rtoMax?: number | null | undefined
  /** Milliseconds without an acknowledgement that the sweep of `setDeadPeerTimeout` allows; 0 if it does not run. */
  readonly silence?: number | undefined
}

/** Path properties, as reported by TCP_INFO. */
export interface DetectionPath {
  /** Smoothed round-trip time in milliseconds. If omitted: 0. */
  readonly srtt?: number | undefined
  /** Retransmission timeout in milliseconds. If omitted: that of a new connection with this `srtt`. */
  readonly rto?: number | undefined
  /** How often the interval between window probes has doubled. If omitted: the maximum. */
  readonly backoff?: number | undefined
}

/**
 * **Milliseconds** until a silent peer becomes an error, per state; `null` if it never does.
 *
 * The kernel's timers are never early, and late by up to an eighth of their length,
 * mostly by a few hundredths (kernel/time/timer.c, the timer wheel). If a number of
 * retries decides, these delays add up; the times include them, for the usual 250 ticks a second.
 * At another tick rate the error can come one retransmission earlier or later.
 */
export interface DetectionTime {
  /** Nothing outstanding: since the peer's last segment. */
  readonly idle: number | null
  /** Data in flight: since the first unacknowledged byte was sent. */
  readonly unacknowledged: number
  /**
   * The peer has closed its window and then dies: since its last answer. With a user
   * timeout: since the window closed, and **a live peer is timed out, too**. With a sweep
   * and without TCP_RTO_MAX_MS (before Linux 6.15) six window probes must go unanswered,
   * which takes up to 12 minutes. The extra time for data that has been stuck for long is
   * not included (`setDeadPeerTimeout`).
   */
  readonly zeroWindow: number
  /** No answer to the connect: since the call. */
  readonly connecting: number
  /** The worst case, since the peer's death: data is written just before the idle timeout, which restarts the clock. */
  readonly worst: number | null
}

/** TCP_TIMEOUT_INIT. */
const SYN_RTO = 1000
/** How often the interval between window probes doubles (include/net/tcp.h, tcp_probe0_when). */
const MAX_PROBE_BACKOFF = 10

/** Milliseconds between two looks of the sweep at a connection in doubt; at others it looks less often (`nextLook`). */
export const SWEEP_PERIOD = 500

/** Linux' defaults, for what procfs does not show. */
const LINUX: Required<SystemDefaults> = {
  idle: 7200,
  interval: 75,
  count: 9,
  retries2: RETRIES2,
  synRetries: 6,
  synLinearTimeouts: 0,
  rtoMin: 200,
  rtoMax: 120_000,
}

/** The arithmetic of `detectionTime`, on a host that is described by `host`. */
export function kernelDetectionTime(
  settings: DetectionSettings,
  host: SystemDefaults = {},
  path: DetectionPath = {},
): DetectionTime {
  const known = withDefaults(host)
  const userTimeout = settings.userTimeout ?? 0
  const rtoMax = settings.rtoMax ?? known.rtoMax
  const silence = settings.silence ?? 0
  const srtt = path.srtt ?? 0
  // After the first measurement the RTO is three round trips (tcp_rtt_estimator).
  const rto = Math.min(path.rto ?? Math.max(3 * srtt, srtt + known.rtoMin), rtoMax)

  const idle = idleTime(settings, known)
  // The sweep's bound is in force only while the peer's window is closed.
  const openRtoMax = silence > 0 ? known.rtoMax : rtoMax
  const unacknowledged = swept(
    unacknowledgedTime(userTimeout, known.retries2, openRtoMax, srtt, rto),
    silence,
    0,
  )
  const { retries2 } = known
  const probes = probesForClosedWindow(silence, rtoMax)
  const zeroWindowFrom = (backoff: number) =>
    swept(
      zeroWindowTime(userTimeout, retries2, rtoMax, rto, backoff),
      silence,
      // The last probe must be older than its answer may take, plus the time to the next look.
      probesTime(probes, retries2, rtoMax, rto, backoff) + rto,
    )
  const zeroWindow = zeroWindowFrom(Math.min(path.backoff ?? MAX_PROBE_BACKOFF, retries2))
  const writtenLast = Math.max(unacknowledged, zeroWindowFrom(0))
  return {
    idle,
    unacknowledged,
    zeroWindow,
    connecting: connectingTime(settings.connectTimeout ?? userTimeout, known),
    worst: idle === null ? null : Math.max(idle + writtenLast, zeroWindow),
  }
}

function swept(kernel: number, silence: number, answers: number): number {
  return silence > 0 ? Math.min(kernel, Math.max(silence, answers) + SWEEP_PERIOD) : kernel
}

function withDefaults(host: SystemDefaults): Required<SystemDefaults> {
  const known: Record<string, number> = { ...LINUX }
  for (const [name, value] of Object.entries(host)) if (value !== undefined) known[name] = value
  return known as unknown as Required<SystemDefaults>
}

/**
 * tcp_keepalive_timer(): the timer expires after `idle`, then every `interval`, and each expiry
 * sends a probe. Without a user timeout, the expiry after `count` probes times the connection out.
 * With one, the first expiry after a probe that finds the silence long enough does.
 */
function idleTime(settings: DetectionSettings, host: Required<SystemDefaults>): number | null {
  const some = settings.idle ?? settings.interval ?? settings.count
  if (!(settings.enabled ?? some !== undefined)) return null
  const idle = (settings.idle ?? host.idle) * 1000
  const interval = (settings.interval ?? host.interval) * 1000
  const userTimeout = settings.userTimeout ?? 0
  if (userTimeout === 0) return idle + interval * (settings.count ?? host.count)
  return idle + interval * Math.max(1, Math.ceil((userTimeout - idle) / interval))
}

/**
 * tcp_retransmit_timer(), tcp_write_timeout(), retransmits_timed_out(): both
 * clocks start with the first retransmission by timeout. Before it comes the
 * tail loss probe (net/ipv4/tcp_output.c, tcp_schedule_loss_probe), here that of
 * a single segment in flight, which restarts the retransmission timer.
 */
function unacknowledgedTime(
  userTimeout: number,
  retries2: number,
  rtoMax: number,
  srtt: number,
  rto: number,
): number {
  const first = Math.min(2 * srtt + RTO_BASE, rto) + rto
  if (userTimeout > 0) return first + userTimeout
  const limit = modelTimeout(retries2, RTO_BASE, rtoMax)
  let elapsed = 0
  for (let timer = rto; elapsed < limit; ) {
    timer = Math.min(2 * timer, rtoMax)
    elapsed = expiry(elapsed, timer, 250)
  }
  return first + elapsed
}

/** tcp_probe0_when(). */
function probeInterval(rto: number, backoff: number, rtoMax: number): number {
  return Math.min(Math.max(rto, RTO_BASE) * 2 ** Math.min(backoff, MAX_PROBE_BACKOFF), rtoMax)
}

/**
 * tcp_probe_timer(): a user timeout counts from the first probe. Without one, the
 * expiry after `retries2` unanswered probes times the connection out.
 */
function zeroWindowTime(
  userTimeout: number,
  retries2: number,
  rtoMax: number,
  rto: number,
  backoff: number,
): number {
  if (userTimeout > 0) return probeInterval(rto, 0, rtoMax) + userTimeout
  return probesTime(retries2 + 1, retries2, rtoMax, rto, backoff)
}

/** Since the last answer: that many expiries of the probe timer, each sending a probe. */
function probesTime(
  probes: number,
  retries2: number,
  rtoMax: number,
  rto: number,
  backoff: number,
): number {
  let elapsed = 0
  for (let probe = 0; probe < probes; probe++) {
    // The backoff grows up to tcp_retries2 only (tcp_send_probe0).
    const doubled = Math.min(backoff + probe, retries2)
    elapsed = expiry(elapsed, probeInterval(rto, doubled, rtoMax), 250)
  }
  return elapsed
}

/**
 * tcp_write_timeout() in SYN-SENT. Since Linux 6.5 the first
 * tcp_syn_linear_timeouts intervals do not double, and add to tcp_syn_retries.
 * A user timeout does not add retransmissions.
 */
function connectingTime(userTimeout: number, host: Required<SystemDefaults>): number {
  const { synRetries, synLinearTimeouts, rtoMax } = host
  const limit = userTimeout > 0 ? userTimeout : modelTimeout(synRetries, SYN_RTO, rtoMax)
  let elapsed = SYN_RTO
  let timer = SYN_RTO
  let sent = 0
  while (sent === 0 || (sent < synRetries + synLinearTimeouts && elapsed < limit)) {
    if (++sent > synLinearTimeouts) timer = Math.min(2 * timer, rtoMax)
    // tcp_clamp_rto_to_user_timeout(): the last timer ends with the user timeout.
    elapsed += userTimeout > 0 ? Math.min(timer, Math.max(0, limit - elapsed)) : timer
  }
  return elapsed
}
