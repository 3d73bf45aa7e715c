import { refuseMore, unavailable } from './errors.js'
import {
  checkDeadPeerTimeout,
  type DeadPeerOptions,
  type DeadPeerPlan,
  deadPeerPlan,
  nothingPlanned,
} from './kernel/plan.js'
import { hostDefaults } from './kernel/system-defaults.js'
import { has } from './native.js'
import { LEAVE, NO_VALUES, type Settings } from './options/settings.js'
import { apply, type Target } from './targets/apply.js'
import { NO_TCP_INFO } from './tcp-info.js'

/**
 * Makes a silent peer an `'error'` within `ms` **milliseconds**, whatever the
 * connection is doing: of its last sign of life when idle, of the first
 * unacknowledged byte (plus what the round-trip time adds) when data is in
 * flight, of the call while connecting. Never before 70 % of `ms`, up to the limits below.
 *
 * Sets SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT and TCP_USER_TIMEOUT. With
 * `'keep'` this library also looks twice a second at what the peer has acknowledged (anything, and
 * anything new: a peer that goes on sending while nothing of ours arrives is silent, too), all such
 * sockets at once, and lets window probes come more often while a window is
 * closed (TCP_RTO_MAX_MS, Linux 6.15 and newer). The plan that comes back is plain
 * data: log it.
 *
 * **A live peer that does not read** (a slow consumer, a stopped debugger) answers
 * the kernel's window probes. With `slowReader: 'keep'`, the default on Linux, it is kept;
 * with `'end'` it is given up after the same time, by the user timeout alone.
 *
 * **A peer that dies behind a closed window** is noticed later than `ms` where it must be, because
 * until then a live one on a lossy path looks the same. Before Linux 6.15 six window probes must go
 * unanswered, which are up to two minutes apart: 13 s if the window has just closed, 12 minutes if it has
 * been closed for two (docs/detection.md). On every kernel, where the window closed upon data in flight
 * and the peer took nothing for long: after rather more than half as long again, up to 240 s.
 *
 * However large `ms` is, the kernel ends such stuck data after 240 s without an answer, with `'keep'`
 * data in flight after about 924 s, and a connect after about 130 s.
 *
 * The side effects are those of `setKeepalive`. The host's own values are read once
 * per process.
 *
 * @param target A socket, connected or not; a server; an http(s) agent; an http2 session.
 * @param ms 2000 to 2147483647, or 0 to take everything back: keepalive off, and the
 * host's defaults.
 * @param options `slowReader`: `'keep'` or `'end'`; omitted, `'keep'` where it can be had
 * (`support.setDeadPeerTimeout`), else `'end'`.
 * @returns The plan: what was set, and what comes of it.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE: nothing was set.
 * @throws {RangeError} ERR_OUT_OF_RANGE: nothing was set.
 * @throws {Error} ERR_SOCKET_CLOSED, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} The kernel refused; ENOTSUP for a Unix-domain socket. Where
 * the settings have to wait for a descriptor it is not thrown: the socket is destroyed with
 * it, a server's is its `'error'`, an agent's the request's.
 * @platform Linux. Elsewhere, and in gVisor and qemu-user, `'end'`, as `setUserTimeout`; there
 * `'keep'` is ERR_FEATURE_UNAVAILABLE_ON_PLATFORM, and the connect is bounded by this library where
 * the kernel does not do it, up to a second after `ms` (in Node; Bun and Deno show no connects).
 * @see tcp(7); net/ipv4/tcp_timer.c; docs/detection.md for what was measured
 *
 * @example
 * const { idle, interval, count } = setDeadPeerTimeout(socket, 30_000)
 * getKeepalive(socket) // => { enabled: true, idle, interval, count }
 * setDeadPeerTimeout(socket, 0) // takes it back
 * getKeepalive(socket).enabled // => false
 */
export function setDeadPeerTimeout(
  target: Target,
  ms: number,
  options?: DeadPeerOptions,
): DeadPeerPlan {
  if (arguments.length > 3) {
    const instead = "setDeadPeerTimeout(socket, 30_000, { slowReader: 'keep' })"
    refuseMore('setDeadPeerTimeout(target, ms, options)', 3, arguments, instead)
  }
  const { plan, settings } = planned(ms, options)
  apply(target, settings)
  return plan
}

/**
 * What `setDeadPeerTimeout` would set on this host, and when a silent peer would be an
 * error then. Touches nothing.
 *
 * @param ms 2000 to 2147483647 **milliseconds**, or 0.
 * @param options `slowReader`: `'keep'` or `'end'`; omitted, `'keep'` where it can be had
 * (`support.setDeadPeerTimeout`), else `'end'`.
 * @throws {TypeError | RangeError} As `setDeadPeerTimeout`.
 * @throws {Error} ERR_FEATURE_UNAVAILABLE_ON_PLATFORM: `'keep'` where `getTcpInfo` is not.
 * @platform As `setDeadPeerTimeout`.
 * @see tcp(7); net/ipv4/tcp_timer.c; docs/detection.md for what was measured
 *
 * @example
 * const plan = planDeadPeerTimeout(60_000)
 * plan.idle // => 27
 * plan.interval // => 3
 * plan.count // => 9
 */
export function planDeadPeerTimeout(ms: number, options?: DeadPeerOptions): DeadPeerPlan {
  if (arguments.length > 2) {
    const instead = "planDeadPeerTimeout(30_000, { slowReader: 'keep' })"
    refuseMore('planDeadPeerTimeout(ms, options)', 2, arguments, instead)
  }
  return planned(ms, options).plan
}

interface Planned {
  readonly plan: DeadPeerPlan
  readonly settings: Settings
}

/** A program uses few of them, many times. */
const plans = { keep: new Map<unknown, Planned>(), end: new Map<unknown, Planned>() }
const MAX_PLANS = 100

function planned(ms: unknown, options: unknown): Planned {
  const asked = checkDeadPeerTimeout(ms, options)
  if (ms !== 0 && asked === 'keep' && !hasTcpInfo()) {
    throw unavailable(
      `slowReader: 'keep' cannot be had. ${NO_TCP_INFO} Omit it, or write { slowReader: 'end' }: a live peer that does not read is given up then, too.`,
    )
  }
  const slowReader = asked ?? (hasTcpInfo() ? 'keep' : 'end')
  const made = plans[slowReader]
  const known = made.get(ms)
  if (known !== undefined) return known
  const host = hostDefaults()
  const plan =
    ms === 0 ? nothingPlanned(slowReader, host) : deadPeerPlan(ms as number, slowReader, host)
  const fresh = { plan, settings: settingsOf(plan) }
  if (made.size >= MAX_PLANS) made.clear()
  made.set(ms, fresh)
  return fresh
}

/** A plan needs no binary: where none loads, it is what this system has elsewhere. */
function hasTcpInfo(): boolean {
  try {
    return has('tcpInfo')
  } catch {
    return process.platform === 'linux'
  }
}

/** A plan as it crosses into native code. */
export function settingsOf(plan: DeadPeerPlan): Settings {
  const { ms, idle, interval, count, userTimeout, connectTimeout, rtoMax, silence } = plan
  return {
    ...NO_VALUES,
    userTimeout,
    // With a sweep the bound is the sweep's to write; else it is the host's own.
    rtoMax: silence > 0 ? LEAVE : (rtoMax ?? LEAVE),
    idle,
    interval,
    count,
    keepalive: ms === 0 ? 0 : 1,
    connectTimeout,
    silence,
    locked: ms === 0 ? 0 : 1,
  }
}
