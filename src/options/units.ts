/** Numbers that are most likely in the wrong unit, and the advice for them. */
import { MAX_SECONDS } from './socket-options.js'

/** The call that takes keepalive options, or `true` or `false`, as an error shows it. */
export type Call = (options: string) => string

export const callOfSetter: Call = (options) => `setKeepalive(socket, ${options})`

/** Seconds. The kernel accepts more, but a larger number most likely is milliseconds. */
export const MAX_INTERVAL = 999

/** Whether a number of seconds that the kernel accepts is refused, because it most likely is milliseconds. */
export function isMistaken(name: 'idle' | 'interval', value: number): boolean {
  return name === 'interval' ? value > MAX_INTERVAL : value >= 10_000 && value % 1000 === 0
}

/** The accepted range as text; mentions multiples of 1000 only if they are the problem. */
export function secondsRange(name: 'idle' | 'interval', value: number): string {
  const most = name === 'interval' ? MAX_INTERVAL : MAX_SECONDS
  const rest =
    name === 'idle' && isMistaken(name, value) ? ', except for multiples of 1000 from 10000 on' : ''
  return `a whole number of seconds from 1 to ${most}${rest}`
}

export function secondsAdvice(
  name: 'idle' | 'interval',
  value: number,
  options: Record<string, unknown>,
  call: Call,
): string {
  if ((isMistaken(name, value) || value > MAX_SECONDS) && value / 1000 <= MAX_SECONDS) {
    const { idle, interval, count } = options
    const corrected = ourCall({ idle: inSeconds(idle), interval: inSeconds(interval), count }, call)
    return `The unit is seconds, not milliseconds. For ${value} ms write ${corrected}.`
  }
  if (value > 0 && value < MAX_SECONDS && !Number.isInteger(value)) {
    return `The kernel counts whole seconds; the next one is { ${name}: ${Math.ceil(value)} }.`
  }
  return value === 0 ? `To turn keepalive off, call ${call('false')}.` : ''
}

/** The call of this library that corresponds to options with the names of Node's API. */
export function callForNodeFields(options: Record<string, unknown>, call: Call): string {
  const { enable, keepAlive, initialDelay, keepAliveInitialDelay, interval, count } = options
  if ((enable ?? keepAlive) === false) return call('false')
  const delay = initialDelay ?? keepAliveInitialDelay
  const idle = typeof delay === 'number' && delay > 0 ? fromMilliseconds(delay) : undefined
  return ourCall({ idle, interval: inSeconds(interval), count }, call)
}

/** The call of this library that corresponds to Node's positional `setKeepAlive(enable, initialDelay, interval, count)`. */
export function callForPositions(positions: readonly unknown[], call: Call): string {
  const [enable] = positions
  if (enable === false) return call('false')
  if (typeof enable === 'object') return call('{ idle: 60, interval: 10, count: 3 }')
  const [idle, interval, count] = enable === true ? positions.slice(1) : positions
  // If the interval is in seconds, such as 75, so is the idle time, such as 7200 (tcp(7)).
  const areSeconds = typeof interval === 'number' && interval < 1000
  const fields = { idle: areSeconds ? idle : inSeconds(idle), interval: inSeconds(interval), count }
  return ourCall(fields, call)
}

function ourCall(fields: Record<string, unknown>, call: Call): string {
  const written = Object.entries(fields)
    .filter(([, value]) => typeof value === 'number' && value > 0)
    .map(([name, value]) => `${name}: ${value}`)
  return call(written.length === 0 ? 'true' : `{ ${written.join(', ')} }`)
}

/** A number of 1000 or more is taken as milliseconds; smaller ones are seconds. */
function inSeconds(value: unknown): unknown {
  return typeof value === 'number' && value >= 1000 ? fromMilliseconds(value) : value
}

function fromMilliseconds(value: number): number {
  return Math.max(1, Math.round(value / 1000))
}

export function warnOfIdle(idle: number): void {
  if (idle < 1000 || idle % 1000 !== 0) return
  const minutes = Math.round(idle / 6) / 10
  warnOfUnit(
    'idle',
    `idle: ${idle} is ${idle} seconds (${minutes} minutes) until the first probe. ` +
      `For ${idle} milliseconds, write { idle: ${fromMilliseconds(idle)} }.`,
  )
}

const warned = new Set<string>()

/** Warns, once per field, of a value that is allowed but most likely in the wrong unit. */
export function warnOfUnit(field: string, message: string): void {
  if (warned.has(field)) return
  warned.add(field)
  process.emitWarning(`tcp-keepalive: ${message}`, { code: 'TCP_KEEPALIVE_UNIT' })
}
