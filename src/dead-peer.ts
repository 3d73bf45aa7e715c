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
 * Makes a silent peer an `'error'` within `ms` **milliseconds**, in every state of the
 * connection. The time counts from the peer's last segment if the connection is idle, from the
 * first unacknowledged byte (plus what the round-trip time adds) if data is in flight, and from
 * the call while connecting. The error never comes before 70 % of `ms`, except for the limits below.
 *
 * Sets SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT and TCP_USER_TIMEOUT. With
 * `'keep'` this library also checks what the peer has acknowledged, for many sockets in one call:
 * every eighth of the plan's `silence`, but at least every 30 s; twice a second while in doubt.
 * While the window is open, only an acknowledgement of new data counts: a peer that keeps sending
 * although our segments do not reach it counts as silent. While a window is closed, this library
 * makes the kernel send window probes more often (TCP_RTO_MAX_MS, Linux 6.15 and newer). The returned
 * plan is plain data: log it.
 *
 * **A live peer that does not read** (a slow consumer, a process stopped in a debugger) answers
 * the kernel's window probes. With `slowReader: 'keep'`, the default on Linux, it is not
 * disconnected. With `'end'` it is disconnected after the same time, by the user timeout.
 *
 * **A peer that dies behind a closed window** is noticed later than `ms` in two cases, because until
 * then a live peer on a lossy path looks the same. Before Linux 6.15, six window probes must go
 * unanswered, which are up to two minutes apart: 13 s if the window has just closed, 12 minutes if
 * it has been closed for two (docs/detection.md). On every kernel, if the window closed on data in
 * flight and the peer accepted nothing for long: after somewhat more than 1.5 times `ms`, up to 240 s.
 *
 * However large `ms` is, the kernel times out such stuck data after 240 s without an answer, with
 * `'keep'` data in flight after about 924 s, and a connect after about 130 s.
 *
 * The side effects are those of `setKeepalive`. The host's defaults are read once per process.
 *
 * @param target A socket, connected or not; a server; an http(s) agent; an http2 session.
 * @param ms **Milliseconds**, 2000 to 2147483647. 0 restores the defaults: keepalive off, and the
 * host's values for the rest.
 * @param options `slowReader`: `'keep'` or `'end'`; if omitted, `'keep'` where it is available
 * (`support.setDeadPeerTimeout`), else `'end'`.
 * @returns The plan: what was set, and the resulting detection times.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE: nothing was set.
 * @throws {RangeError} ERR_OUT_OF_RANGE: nothing was set.
 * @throws {Error} ERR_SOCKET_CLOSED, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} setsockopt failed; ENOTSUP for a Unix-domain socket. It is not thrown
 * if the settings must wait for a descriptor: then the socket is destroyed with it, a server emits
 * it as `'error'`, and the requests of an agent fail with it.
 * @platform Linux. Elsewhere, and in gVisor and qemu-user, `'end'`, as `setUserTimeout`; there
 * `'keep'` throws ERR_FEATURE_UNAVAILABLE_ON_PLATFORM, and this library bounds the connect if the
 * kernel does not, up to a second after `ms` (in Node; it cannot intercept connects in Bun and Deno).
 * @see tcp(7); net/ipv4/tcp_timer.c; docs/detection.md for measurements
 *
 * @example
 * const { idle, interval, count } = setDeadPeerTimeout(socket, 30_000)
 * getKeepalive(socket) // => { enabled: true, idle, interval, count }
 * setDeadPeerTimeout(socket, 0) // restores the defaults
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
 * Returns what `setDeadPeerTimeout` would set on this host, and when a silent peer would then
 * become an error. Sets nothing.
 *
 * @param ms 2000 to 2147483647 **milliseconds**, or 0.
 * @param options `slowReader`: `'keep'` or `'end'`; if omitted, `'keep'` where it is available
 * (`support.setDeadPeerTimeout`), else `'end'`.
 * @returns The plan.
 * @throws {TypeError | RangeError} As `setDeadPeerTimeout`.
 * @throws {Error} ERR_FEATURE_UNAVAILABLE_ON_PLATFORM: `'keep'` where `getTcpInfo` is not available.
 * @platform As `setDeadPeerTimeout`.
 * @see tcp(7); net/ipv4/tcp_timer.c; docs/detection.md for measurements
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

/** A cache: a program uses few plans, many times. */
const plans = { keep: new Map<unknown, Planned>(), end: new Map<unknown, Planned>() }
const MAX_PLANS = 100

function planned(ms: unknown, options: unknown): Planned {
  const asked = checkDeadPeerTimeout(ms, options)
  if (ms !== 0 && asked === 'keep' && !hasTcpInfo()) {
    throw unavailable(
      `slowReader: 'keep' is not available. ${NO_TCP_INFO} Omit it, or write { slowReader: 'end' }: then a live peer that does not read is timed out, too.`,
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

/** A plan needs no binary: without one, it is as on other hosts with this system. */
function hasTcpInfo(): boolean {
  try {
    return has('tcpInfo')
  } catch {
    return process.platform === 'linux'
  }
}

/** A plan as settings. */
export function settingsOf(
  plan: DeadPeerPlan,
  platform: NodeJS.Platform = process.platform,
): Settings {
  const { ms, idle, interval, count, userTimeout, connectTimeout, rtoMax, silence } = plan
  // There 0 restores the system's own defaults, which its sysctls may have changed.
  const zero = ms === 0 && (platform === 'darwin' || platform === 'freebsd')
  return {
    ...NO_VALUES,
    userTimeout,
    // With a sweep, the sweep writes the bound; otherwise it is the host's default.
    rtoMax: silence > 0 ? LEAVE : (rtoMax ?? LEAVE),
    idle: zero ? 0 : idle,
    interval: zero ? 0 : interval,
    count: zero ? 0 : count,
    keepalive: ms === 0 ? 0 : 1,
    connectTimeout,
    silence,
    locked: ms === 0 ? 0 : 1,
  }
}
