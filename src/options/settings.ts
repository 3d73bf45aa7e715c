import { invalidType, invalidValue, outOfRange, unpolluted } from '../errors.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS } from './socket-options.js'
import {
  type Call,
  callForNodeFields,
  callOfSetter,
  isMistaken,
  secondsAdvice,
  secondsRange,
  warnOfIdle,
  warnOfUnit,
} from './units.js'

/** The options of `setKeepalive`. Omitted (or `undefined`) fields are unchanged. */
export interface KeepaliveOptions {
  /**
   * **Seconds** without any segment from the peer until the first probe is sent.
   * Kernel option TCP_KEEPIDLE, 1 to 32767; Linux' default is 7200 (two hours). Multiples
   * of 1000 from 10,000 on are rejected, because they most likely are milliseconds.
   * @see tcp(7); RFC 9293 section 3.8.4
   */
  idle?: number | undefined
  /**
   * **Seconds** between two unanswered probes.
   * Kernel option TCP_KEEPINTVL, 1 to 999; Linux' default is 75. The kernel accepts
   * more; this library rejects it, because it most likely is milliseconds.
   * @see tcp(7)
   */
  interval?: number | undefined
  /**
   * How many **probes** go unanswered before the kernel times out the connection (ETIMEDOUT).
   * Kernel option TCP_KEEPCNT, 1 to 127; Linux' default is 9. The kernel ignores
   * it on a socket that has a user timeout.
   * @see tcp(7)
   */
  count?: number | undefined
  /** Node's name, in milliseconds. Here: `idle`, in seconds. */
  initialDelay?: never
  /** Node's name. Here: `setKeepalive(socket, true)` or `setKeepalive(socket, false)`. */
  enable?: never
  /** Node's name, in milliseconds. Here: `idle`, in seconds. */
  keepAliveInitialDelay?: never
}

/**
 * Checked numbers, as they are passed to native code. A negative number leaves its option unchanged.
 * Immutable, so that many sockets can share one object.
 */
export interface Settings {
  /** Milliseconds, once connected. */
  readonly userTimeout: number
  /** Milliseconds: always the host's default, to restore it. Only the sweep writes another, which would shorten a connect. */
  readonly rtoMax: number
  /** Seconds. */
  readonly idle: number
  /** Seconds. */
  readonly interval: number
  /** Probes. */
  readonly count: number
  /** 1 on, 0 off. */
  readonly keepalive: number
  /** Milliseconds: the user timeout until the connection is established, if different. */
  readonly connectTimeout: number
  /** Milliseconds without an acknowledgement that the sweep allows; 0 ends the sweep. */
  readonly silence: number
  /** 1: later `setKeepAlive(true, …)` calls are ignored; 0 ends that. */
  readonly locked: number
}

/** Leaves an option unchanged. */
export const LEAVE = -1

/** Every option unchanged. */
export const NO_VALUES: Settings = {
  userTimeout: LEAVE,
  rtoMax: LEAVE,
  idle: LEAVE,
  interval: LEAVE,
  count: LEAVE,
  keepalive: LEAVE,
  connectTimeout: LEAVE,
  silence: LEAVE,
  locked: LEAVE,
}

/** Nothing set. */
export const UNTOUCHED: Settings = { ...NO_VALUES }

/** The values for a socket that is not connected yet: the user timeout is the connect's. */
export function forConnect(settings: Settings): Settings {
  const { connectTimeout, userTimeout } = settings
  return {
    ...settings,
    userTimeout: connectTimeout >= 0 ? connectTimeout : userTimeout,
    // A new socket has the host's default.
    rtoMax: LEAVE,
  }
}

const ON: Settings = { ...NO_VALUES, keepalive: 1, locked: 1 }
const OFF: Settings = { ...NO_VALUES, keepalive: 0, locked: 1 }

const FIELDS = ['idle', 'interval', 'count']

/** Whether a field that is absent from an object may be found on its prototype. */
function isPolluted(): boolean {
  return 'idle' in Object.prototype || 'interval' in Object.prototype || 'count' in Object.prototype
}

/** Checks the argument of `setKeepalive`. */
export function keepaliveSettings(options: unknown, call: Call = callOfSetter): Settings {
  if (options === true) return ON
  if (options === false) return OFF
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw notOptions(options)
  }
  for (const key in options) {
    if (key === 'idle' || key === 'interval' || key === 'count') continue
    if (Object.hasOwn(options, key))
      throw unknownField(key, options as Record<string, unknown>, call)
  }
  // Read once: an accessor may return something else the next time.
  const own = options as Record<string, unknown>
  const { idle, interval, count } = isPolluted() ? unpolluted(own, FIELDS) : own
  const fields = { idle, interval, count }
  if (idle === undefined && interval === undefined && count === undefined) {
    // Otherwise a Map or a Boolean object would count as an empty object.
    if (Object.prototype.toString.call(options) !== '[object Object]') throw notOptions(options)
    return ON
  }
  const settings = {
    ...NO_VALUES,
    idle: seconds('idle', fields, call),
    interval: seconds('interval', fields, call),
    count: probes(count, call),
    keepalive: 1,
    locked: 1,
  }
  warnOfIdle(settings.idle)
  return settings
}

/** Checks the argument of `setUserTimeout`. */
export function userTimeoutSettings(ms: unknown): Settings {
  if (typeof ms !== 'number') {
    throw invalidType(
      'ms',
      'a number of milliseconds',
      ms,
      'For example: setUserTimeout(socket, 90_000).',
    )
  }
  if (!Number.isInteger(ms) || ms < 0 || ms > MAX_MILLISECONDS) {
    throw outOfRange(
      'ms',
      `a whole number of milliseconds from 0 (the kernel's default) to ${MAX_MILLISECONDS}`,
      ms,
    )
  }
  if (ms > 0 && ms < 1000) {
    warnOfUnit(
      'userTimeout',
      `a user timeout of ${ms} is ${ms} milliseconds: the kernel also times out a live peer that is ` +
        `silent for ${ms / 1000} s while data is outstanding. For ${ms} seconds, write ${ms * 1000}.`,
    )
  }
  return { ...NO_VALUES, userTimeout: ms }
}

function notOptions(value: unknown): TypeError {
  return invalidType(
    'options',
    'true, false or an object such as { idle: 60, interval: 10, count: 3 }',
    value,
  )
}

function seconds(
  name: 'idle' | 'interval',
  fields: Record<'idle' | 'interval', unknown>,
  call: Call,
): number {
  const value = fields[name]
  if (value === undefined) return LEAVE
  if (typeof value !== 'number') {
    throw invalidType(`options.${name}`, 'a number of seconds', value)
  }
  const fits = Number.isInteger(value) && value >= 1 && value <= MAX_SECONDS
  if (fits && !isMistaken(name, value)) return value
  throw outOfRange(
    `options.${name}`,
    secondsRange(name, value),
    value,
    secondsAdvice(name, value, fields, call),
  )
}

function probes(value: unknown, call: Call): number {
  if (value === undefined) return LEAVE
  if (typeof value !== 'number') {
    throw invalidType('options.count', 'a number of probes', value)
  }
  if (Number.isInteger(value) && value >= 1 && value <= MAX_COUNT) return value
  throw outOfRange(
    'options.count',
    `a whole number of probes from 1 to ${MAX_COUNT}`,
    value,
    value === 0 ? `To turn keepalive off, call ${call('false')}.` : '',
  )
}

const NODE_FIELDS = new Set(['initialDelay', 'keepAliveInitialDelay', 'enable', 'keepAlive'])

function unknownField(key: string, options: Record<string, unknown>, call: Call): TypeError {
  if (!NODE_FIELDS.has(key)) {
    return invalidValue(
      `Unknown field options.${key}. setKeepalive takes idle (seconds), interval (seconds) and count (probes).`,
    )
  }
  return invalidValue(
    `options.${key} is a field of Node's own API, in milliseconds. Write ${callForNodeFields(options, call)}; the unit is seconds.`,
  )
}
