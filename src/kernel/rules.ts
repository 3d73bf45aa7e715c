import { probesForClosedWindow } from './closed-window.js'
import type { SystemDefaults } from './system-defaults.js'
import { expiry, modelTimeout, RETRIES2, RTO_BASE } from './timers.js'

/** What decides when a silent peer becomes an error. An absent field is the host's default. */
export interface DetectionSettings {
  /**
   * SO_KEEPALIVE. Absent, it is on as soon as `idle`, `interval` or `count` is
   * given, as `setKeepalive` has it.
   */
  readonly enabled?: boolean | undefined
  /** TCP_KEEPIDLE in seconds. */
  readonly idle?: number | undefined
  /** TCP_KEEPINTVL in seconds. */
  readonly interval?: number | undefined
  /** TCP_KEEPCNT in probes; the kernel ignores it beside a user timeout. */
  readonly count?: number | undefined
  /** TCP_USER_TIMEOUT in milliseconds; 0 is the kernel's own rule. */
  readonly userTimeout?: number | undefined
  /** TCP_USER_TIMEOUT while connecting, where that is another one. */
  readonly connectTimeout?: number | undefined
  /** TCP_RTO_MAX_MS in milliseconds, once connected; `null` where it is not set. */
  readonly rtoMax?: number | null | undefined
  /** Milliseconds that the sweep of `setDeadPeerTimeout` allows; 0 where it does not run. */
  readonly silence?: number | undefined
}

/** The path's part in it, as TCP_INFO tells it. */
export interface DetectionPath {
  /** Smoothed round-trip time in milliseconds. Absent: 0. */
  readonly srtt?: number | undefined
  /** Retransmission timeout in milliseconds. Absent: that of a new connection with this `srtt`. */
  readonly rto?: number | undefined
  /** How often the window probe's interval has doubled. Absent: until it doubles no more. */
  readonly backoff?: number | undefined
}

/**
 * Milliseconds until a silent peer is an error, per state; `null` where it never is.
 *
 * The kernel's timers are never early and up to an eighth of their length late,
 * mostly a few hundredths (kernel/time/timer.c, the timer wheel). Where a number
 * of retries decides, that adds up and is counted in, at the usual 250 ticks a
 * second; at another rate the verdict can be one retransmission earlier or later.
 */
export interface DetectionTime {
  /** Nothing outstanding: from the peer's last segment. */
  readonly idle: number | null
  /** Data in flight: from the first unacknowledged byte. */
  readonly unacknowledged: number
  /**
   * The peer has closed its window and then dies: from its last answer. With a
   * user timeout: from the closing of the window, and **a live peer ends too**.
   * With a sweep and without TCP_RTO_MAX_MS (before Linux 6.15) six window probes must go
   * unanswered, which takes up to 12 minutes. Data that has been stuck for long is not
   * counted in (`setDeadPeerTimeout`).
   */
  readonly zeroWindow: number
  /** Nobody answers the connect: from the call. */
  readonly connecting: number
  /** From the peer's death, at worst: written just before the idle verdict, which starts a new clock. */
  readonly worst: number | null
}

/** TCP_TIMEOUT_INIT. */
const SYN_RTO = 1000
/** The window probe's interval doubles this often (include/net/tcp.h, tcp_probe0_when). */
const MAX_PROBE_BACKOFF = 10

/** This often, in milliseconds, the sweep looks. */
export const SWEEP_PERIOD = 500

/** Linux' defaults, where procfs does not tell. */
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
      // The last of them is as old as its answer may be, at a look that follows.
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
 * tcp_keepalive_timer(): the first probe after `idle`, a tick every `interval`.
 * Without a user timeout the tick after `count` probes gives up; with one, the
 * first tick after a probe that finds the silence long enough.
 */
function idleTime(settings: DetectionSettings, host: Required<SystemDefaults>): number | null {
  const given = settings.idle ?? settings.interval ?? settings.count
  if (!(settings.enabled ?? given !== undefined)) return null
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
 * a single segment in flight, which starts the retransmission timer anew.
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
 * tcp_probe_timer(): a user timeout counts from the first probe; without one the
 * timer after `retries2` unanswered probes gives up.
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

/** After the last answer: that many expiries of the probe timer, which is asking each time. */
function probesTime(
  probes: number,
  retries2: number,
  rtoMax: number,
  rto: number,
  backoff: number,
): number {
  let elapsed = 0
  for (let probe = 0; probe < probes; probe++) {
    // The backoff itself ends at tcp_retries2 (tcp_send_probe0).
    const doubled = Math.min(backoff + probe, retries2)
    elapsed = expiry(elapsed, probeInterval(rto, doubled, rtoMax), 250)
  }
  return elapsed
}

/**
 * tcp_write_timeout() in SYN-SENT. Since Linux 6.5 the first
 * tcp_syn_linear_timeouts intervals do not double, and add to tcp_syn_retries.
 * A user timeout cannot make more attempts than there are.
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
