import { invalidType, invalidValue, outOfRange, unpolluted } from './errors.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS } from './socket-options.js'
import { ourCall, secondsAdvice, warnOfSeconds, warnOfUnit } from './units.js'

/** What `setKeepalive` takes. An absent field (or `undefined`) is left as it is. */
export interface KeepaliveOptions {
  /**
   * **Seconds** without any segment from the peer until the first probe is sent.
   * Kernel option TCP_KEEPIDLE, 1 to 32767; Linux' default is 7200 (two hours).
   * @see tcp(7); RFC 9293 section 3.8.4
   */
  idle?: number | undefined
  /**
   * **Seconds** between two probes that are not answered.
   * Kernel option TCP_KEEPINTVL, 1 to 32767; Linux' default is 75.
   * @see tcp(7)
   */
  interval?: number | undefined
  /**
   * How many **probes** go unanswered before the peer is given up with ETIMEDOUT.
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

/** Checked numbers, as they cross into native code. A negative number leaves that option as it is. */
export interface Settings {
  /** Milliseconds, once connected. */
  readonly userTimeout: number
  /** Milliseconds. Never written before the connection stands: it would shorten the connect. */
  readonly rtoMax: number
  /** Seconds. */
  readonly idle: number
  /** Seconds. */
  readonly interval: number
  /** Probes. */
  readonly count: number
  /** 1 on, 0 off. */
  readonly keepalive: number
  /** Milliseconds: the user timeout until the connection stands, where that differs. */
  readonly connectTimeout: number
  /** Milliseconds without an acknowledgement that the sweep allows; 0 ends the sweep. */
  readonly silence: number
  /** 1 holds all this against later `setKeepAlive(true, …)` calls, 0 ends that. */
  readonly held: number
}

/** Leaves an option as it is. */
export const LEAVE = -1

/** Nothing set. */
export const UNTOUCHED: Settings = {
  userTimeout: LEAVE,
  rtoMax: LEAVE,
  idle: LEAVE,
  interval: LEAVE,
  count: LEAVE,
  keepalive: LEAVE,
  connectTimeout: LEAVE,
  silence: LEAVE,
  held: LEAVE,
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Later settings over earlier ones. */
export function merge(earlier: Settings, later: Settings): Settings {
  const result = { ...earlier }
  absorb(result, later)
  return result
}

/** As `merge`, into settings that nobody else holds. */
export function absorb(settings: Settings, later: Settings): void {
  const into = settings as Mutable<Settings>
  // A user timeout that is set on its own bounds the connect as well.
  if (later.userTimeout >= 0 || later.connectTimeout >= 0)
    into.connectTimeout = later.connectTimeout
  if (later.userTimeout >= 0) into.userTimeout = later.userTimeout
  if (later.rtoMax >= 0) into.rtoMax = later.rtoMax
  if (later.idle >= 0) into.idle = later.idle
  if (later.interval >= 0) into.interval = later.interval
  if (later.count >= 0) into.count = later.count
  if (later.keepalive >= 0) into.keepalive = later.keepalive
  if (later.silence >= 0) into.silence = later.silence
  if (later.held >= 0) into.held = later.held
}

/** What these settings change, for people to read. */
export function touched(settings: Settings): Record<string, number> {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value >= 0))
}

const ON: Settings = { ...UNTOUCHED, keepalive: 1, held: 1 }
const OFF: Settings = { ...UNTOUCHED, keepalive: 0, held: 1 }

const FIELDS = ['idle', 'interval', 'count']

/** Names that are written out cost nothing to look for. */
function areOnPrototype(): boolean {
  return 'idle' in Object.prototype || 'interval' in Object.prototype || 'count' in Object.prototype
}

/** Checks what `setKeepalive` was given. */
export function keepaliveSettings(options: unknown): Settings {
  if (options === true) return ON
  if (options === false) return OFF
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw notOptions(options)
  }
  // Read once: an accessor may answer differently the next time.
  const meant = areOnPrototype() ? unpolluted(options, FIELDS) : options
  const { idle, interval, count } = meant as Record<string, unknown>
  for (const key in options) {
    if (key !== 'idle' && key !== 'interval' && key !== 'count' && Object.hasOwn(options, key)) {
      refuseField(key, options as Record<string, unknown>)
    }
  }
  // A Map or a Boolean object would pass for an empty one.
  if (
    idle === undefined &&
    interval === undefined &&
    count === undefined &&
    Object.prototype.toString.call(options) !== '[object Object]'
  ) {
    throw notOptions(options)
  }
  return keepaliveOf(
    idle === undefined ? LEAVE : seconds('idle', idle),
    interval === undefined ? LEAVE : seconds('interval', interval),
    count === undefined ? LEAVE : probes(count),
  )
}

/** A program sets the same few numbers again and again, and leaves nothing behind. */
const recent: (Settings | undefined)[] = Array.from({ length: 8 })
const recentTimeouts: (Settings | undefined)[] = Array.from({ length: 8 })

function keepaliveOf(idle: number, interval: number, count: number): Settings {
  const slot = (idle ^ interval ^ count) & 7
  const known = recent[slot]
  if (known?.idle === idle && known.interval === interval && known.count === count) return known
  if (interval >= 1000 || (idle >= 1000 && idle % 1000 === 0)) warnOfSeconds({ idle, interval })
  const settings = { ...ON, idle, interval, count }
  recent[slot] = settings
  return settings
}

/** Checks what `setUserTimeout` was given. */
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
      `a user timeout of ${ms} is ${ms} milliseconds: a live peer that is silent for ${ms / 1000} s ` +
        `while data is outstanding is given up. If ${ms} seconds are meant, write ${ms * 1000}.`,
    )
  }
  const known = recentTimeouts[ms & 7]
  if (known?.userTimeout === ms) return known
  const settings = { ...UNTOUCHED, userTimeout: ms }
  recentTimeouts[ms & 7] = settings
  return settings
}

function notOptions(value: unknown): TypeError {
  return invalidType(
    'options',
    'true, false or an object such as { idle: 60, interval: 10, count: 3 }',
    value,
  )
}

function seconds(name: 'idle' | 'interval', value: unknown): number {
  if (typeof value !== 'number') {
    throw invalidType(`options.${name}`, 'a number of seconds', value)
  }
  if (Number.isInteger(value) && value >= 1 && value <= MAX_SECONDS) return value
  throw outOfRange(
    `options.${name}`,
    `a whole number of seconds from 1 to ${MAX_SECONDS}`,
    value,
    secondsAdvice(name, value),
  )
}

function probes(value: unknown): number {
  if (typeof value !== 'number') {
    throw invalidType('options.count', 'a number of probes', value)
  }
  if (Number.isInteger(value) && value >= 1 && value <= MAX_COUNT) return value
  throw outOfRange(
    'options.count',
    `a whole number of probes from 1 to ${MAX_COUNT}`,
    value,
    value === 0 ? 'To turn keepalive off, call setKeepalive(socket, false).' : '',
  )
}

const NODE_FIELDS = new Set(['initialDelay', 'keepAliveInitialDelay', 'enable', 'keepAlive'])

function refuseField(key: string, options: Record<string, unknown>): never {
  if (!NODE_FIELDS.has(key)) {
    throw invalidValue(
      `Unknown field options.${key}. setKeepalive takes idle (seconds), interval (seconds) and count (probes).`,
    )
  }
  throw invalidValue(
    `options.${key} is a field of Node's own API, which counts in milliseconds. Here it is: ${ourCall(options)}; the unit is seconds.`,
  )
}
