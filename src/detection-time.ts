import { Socket } from 'node:net'
import { Connection } from './connection/connection.js'
import { invalidType, invalidValue, outOfRange, socketAdvice, unavailable } from './errors.js'
import { getKeepalive } from './keepalive.js'
import { rtoMaxForClosedWindow } from './kernel/closed-window.js'
import {
  type DetectionPath,
  type DetectionSettings,
  type DetectionTime,
  kernelDetectionTime,
} from './kernel/rules.js'
import { systemDefaults } from './kernel/system-defaults.js'
import { has, native } from './native.js'
import { openDescriptor } from './node/descriptor.js'
import { handleOf } from './node/handle.js'
import { type Settings, UNTOUCHED } from './options/settings.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS, RTO_MAX } from './options/socket-options.js'
import { getTcpInfo, NO_TCP_INFO, type TcpInfo } from './tcp-info.js'
import { getUserTimeout } from './user-timeout.js'

/**
 * Returns after how many **milliseconds** a silent peer becomes an error with these settings on
 * this host, by the kernel's rules, for each state of the connection; `null` if it never does.
 *
 * Takes settings (omitted fields are the host's defaults), a plan of `planDeadPeerTimeout`, or
 * a connected socket. For a socket it reads the options, the round-trip time and the
 * retransmission timeout from the kernel.
 *
 * @param subject Settings in the units and ranges of the kernel's options; or a socket.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE: an unknown field.
 * @throws {RangeError} ERR_OUT_OF_RANGE: the kernel does not accept the value.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} getsockopt failed.
 * @platform Settings: all, by the rules of Linux. A socket: where `getTcpInfo` is available.
 * @see net/ipv4/tcp_timer.c; docs/detection.md for measurements
 *
 * @example
 * detectionTime({ idle: 60, interval: 10, count: 3 }).idle // => 90000
 * detectionTime(socket).idle // => null
 * setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
 * detectionTime(socket).idle // => 90000
 */
export function detectionTime(subject: DetectionSettings | Socket): DetectionTime {
  if (subject instanceof Socket) return timeOfSocket(subject)
  if (typeof subject !== 'object' || subject === null || 'on' in subject) {
    throw invalidType(
      'the settings',
      'an object such as { idle: 60, interval: 10, count: 3 } or a net.Socket',
      subject,
      socketAdvice(subject, true),
    )
  }
  return kernelDetectionTime(checkedSettings(subject), systemDefaults())
}

/** The range of each field; the other fields of a plan are accepted and ignored. */
const RANGES: Record<string, readonly [least: number, greatest: number]> = {
  idle: [1, MAX_SECONDS],
  interval: [1, MAX_SECONDS],
  count: [1, MAX_COUNT],
  userTimeout: [0, MAX_MILLISECONDS],
  connectTimeout: [0, MAX_MILLISECONDS],
  rtoMax: [1000, 120_000],
  silence: [0, MAX_MILLISECONDS],
}
const OF_A_PLAN = new Set(['enabled', 'ms', 'slowReader', 'survivesOutage', 'detection'])

function checkedSettings(settings: object): DetectionSettings {
  for (const field of Object.keys(settings)) {
    if (Object.hasOwn(RANGES, field) || OF_A_PLAN.has(field)) continue
    throw invalidValue(
      `Unknown field ${field}. detectionTime takes enabled, ${Object.keys(RANGES).join(', ')}.`,
    )
  }
  // Read once: an accessor may return something else the next time.
  const { enabled } = settings as { enabled?: unknown }
  if (enabled !== undefined && typeof enabled !== 'boolean') {
    throw invalidType('enabled', 'true or false', enabled)
  }
  const checked: Record<string, unknown> = { enabled }
  for (const [field, [least, greatest]] of Object.entries(RANGES)) {
    const value = (settings as Record<string, unknown>)[field]
    checked[field] = value
    if (value === undefined || (field === 'rtoMax' && value === null)) continue
    if (typeof value !== 'number') throw invalidType(field, 'a number', value)
    if (!Number.isInteger(value) || value < least || value > greatest) {
      throw outOfRange(field, `a whole number from ${least} to ${greatest}`, value)
    }
  }
  return checked
}

function timeOfSocket(socket: Socket): DetectionTime {
  const inForce = getUserTimeout(socket)
  if (!has('tcpInfo')) throw unavailable(NO_TCP_INFO)
  const handle = handleOf(socket)
  const connection = handle ? Connection.of(handle) : undefined
  const wanted = connection?.settings ?? UNTOUCHED
  // While connecting, the socket has the connect's user timeout, and no bound on the RTO yet.
  const later = socket.connecting || connection?.onEstablished !== undefined
  const settings: DetectionSettings = {
    ...getKeepalive(socket),
    connectTimeout: later || wanted.connectTimeout < 0 ? inForce : wanted.connectTimeout,
    userTimeout: later && wanted.userTimeout >= 0 ? wanted.userTimeout : inForce,
    rtoMax: rtoMaxOf(handle === null || handle === undefined ? -1 : openDescriptor(handle), wanted),
    silence: Math.max(0, wanted.silence),
  }
  return kernelDetectionTime(settings, systemDefaults(), later ? {} : pathOf(getTcpInfo(socket)))
}

/** `null` on an older kernel, which does not know the option and has a fixed bound. */
function rtoMaxOf(descriptor: number, wanted: Settings): number | null {
  // The value of the sweep, which is in force only while the peer's window is closed.
  if (wanted.silence > 0 && systemDefaults().rtoMax !== undefined)
    return rtoMaxForClosedWindow(wanted.silence)
  const binding = native()
  return binding.get(descriptor, 1 << RTO_MAX) === 0 ? (binding.integers[RTO_MAX] as number) : null
}

export function pathOf(info: TcpInfo): DetectionPath {
  const { rttUs, rtoUs, backoff, retransmits, probes } = info
  const doublings = retransmits > 0 ? backoff : 0
  return {
    srtt: rttUs / 1000,
    rto: rtoUs / 1000 / 2 ** doublings,
    backoff: probes > 0 && retransmits === 0 ? backoff : undefined,
  }
}
