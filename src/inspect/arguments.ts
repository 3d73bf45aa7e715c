/** Parses the arguments of `inspect` and `set`. */
import { parseArgs } from 'node:util'

/** The command line is not valid; the message says why. */
export class UsageError extends Error {}

export interface Parsed {
  readonly pid: number
  /** The values of each option that is present, in order; a flag has `''`. */
  readonly given: ReadonlyMap<string, readonly string[]>
}

/**
 * @param values The options that take a value.
 * @param flags Those that take none.
 * @param many Those that may be repeated.
 */
export function parse(
  words: readonly string[],
  values: readonly string[],
  flags: readonly string[],
  many: readonly string[] = [],
): Parsed {
  const options = Object.fromEntries([
    ...values.map((name) => [name, { type: 'string' }] as const),
    ...flags.map((name) => [name, { type: 'boolean' }] as const),
  ])
  // Not strict, because the error messages are our own.
  const { tokens } = parseArgs({ args: [...words], options, strict: false, tokens: true })
  const given = new Map<string, string[]>()
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const { name, rawName, value } = token
    if (!(values.includes(name) || flags.includes(name))) {
      throw new UsageError(`Unknown option ${rawName}.`)
    }
    if (flags.includes(name) && value !== undefined) {
      throw new UsageError(`${rawName} takes no value but received ${quoted(value)}.`)
    }
    if (values.includes(name) && (value === undefined || value === '')) {
      throw new UsageError(`${rawName} needs a value.`)
    }
    const earlier = given.get(name) ?? []
    if (earlier.length > 0 && !many.includes(name)) {
      throw new UsageError(`${rawName} may be used only once.`)
    }
    given.set(name, [...earlier, value ?? ''])
  }
  const [pid, ...more] = positionals
  if (pid === undefined) throw new UsageError('The process ID (pid) is missing.')
  if (more.length > 0) {
    throw new UsageError(`Expected one process but received ${positionals.map(quoted).join(', ')}.`)
  }
  return { pid: wholeNumber('The process', pid, 1, 2 ** 31 - 1, 'a number (pid)'), given }
}

/** `what` and `unit` are for the error message. */
export function wholeNumber(
  what: string,
  word: string,
  least: number,
  most: number,
  unit: string,
): number {
  const value = /^\d{1,10}$/.test(word) ? Number(word) : Number.NaN
  if (value >= least && value <= most) return value
  throw new UsageError(`${what} must be ${unit} from ${least} to ${most}, not ${quoted(word)}.`)
}

export function quoted(word: string): string {
  return `'${word.slice(0, 60).replace(/\p{C}/gu, '?')}'`
}
