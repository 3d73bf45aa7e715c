/** A number that most often means another unit, and what is said of it. */
import { MAX_SECONDS } from './socket-options.js'

export function secondsAdvice(name: string, value: number): string {
  if (value > MAX_SECONDS && value / 1000 <= MAX_SECONDS) {
    return `The unit is seconds, not milliseconds: ${value} ms are { ${name}: ${fromMilliseconds(value)} }.`
  }
  if (value > 0 && value < MAX_SECONDS && !Number.isInteger(value)) {
    return `The kernel counts whole seconds; the next one is { ${name}: ${Math.ceil(value)} }.`
  }
  return value === 0 ? 'To turn keepalive off, call setKeepalive(socket, false).' : ''
}

/** What was written for Node's own API, written for ours. */
export function ourCall(options: Record<string, unknown>): string {
  const { enable, keepAlive, initialDelay, keepAliveInitialDelay, interval, count } = options
  if ((enable ?? keepAlive) === false) return 'setKeepalive(socket, false)'
  const fields: string[] = []
  const idle = initialDelay ?? keepAliveInitialDelay
  if (typeof idle === 'number' && idle > 0) fields.push(`idle: ${fromMilliseconds(idle)}`)
  if (typeof interval === 'number' && interval > 0) {
    fields.push(`interval: ${interval < 1000 ? interval : fromMilliseconds(interval)}`)
  }
  if (typeof count === 'number' && count > 0) fields.push(`count: ${count}`)
  return `setKeepalive(socket, ${fields.length === 0 ? 'true' : `{ ${fields.join(', ')} }`})`
}

function fromMilliseconds(value: number): number {
  return Math.max(1, Math.round(value / 1000))
}

export function warnOfSeconds({ idle, interval }: { idle: number; interval: number }): void {
  if (interval >= 1000) {
    warnOfUnit(
      'interval',
      `interval: ${interval} is ${inWords(interval)} between two probes. ${meantMs('interval', interval)}`,
    )
  }
  if (idle >= 1000 && idle % 1000 === 0) {
    warnOfUnit(
      'idle',
      `idle: ${idle} is ${inWords(idle)} until the first probe. ${meantMs('idle', idle)}`,
    )
  }
}

function meantMs(name: string, value: number): string {
  return `If ${value} milliseconds are meant, write { ${name}: ${fromMilliseconds(value)} }.`
}

function inWords(value: number): string {
  const minutes = Math.round(value / 6) / 10
  return `${value} seconds (${minutes} minutes)`
}

const warned = new Set<string>()

/** Once per field: a value that is allowed, but that most often means another unit. */
export function warnOfUnit(field: string, message: string): void {
  if (warned.has(field)) return
  warned.add(field)
  process.emitWarning(`tcp-keepalive: ${message}`, { code: 'TCP_KEEPALIVE_UNIT' })
}
