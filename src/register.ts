/**
 * Settings from the environment for every outgoing connection of a program, without
 * changing its code: `node --require tcp-keepalive/register app.js`, or `--import` from
 * Node 22 on (on Node 20 any `--import` loses worker messages).
 *
 * | variable | | |
 * |---|---|---|
 * | TCP_KEEPALIVE_DEAD_PEER_MS | milliseconds | `setDeadPeerTimeout`; 60000 if no number is set |
 * | TCP_KEEPALIVE_SLOW_READER | `keep` or `end` | `keep` where it is available, else `end` |
 * | TCP_KEEPALIVE_IDLE_S | seconds | `setKeepalive` |
 * | TCP_KEEPALIVE_INTERVAL_S | seconds | |
 * | TCP_KEEPALIVE_COUNT | probes | |
 * | TCP_KEEPALIVE_USER_TIMEOUT_MS | milliseconds | `setUserTimeout` |
 * | TCP_KEEPALIVE_SCOPE | `client`, `server` or `all` | default `client` |
 * | TCP_KEEPALIVE_LOG | `1` | prints one line with the settings to stderr at the start |
 *
 * A worker inherits its parent's variables; those of its own environment override them. In
 * PM2's cluster mode they are read from `pm2_env`.
 *
 * If a value is malformed or a `TCP_KEEPALIVE_*` name is unknown, the process prints one line
 * that names it and exits with code 9. If native code cannot be loaded (no binary for this system,
 * `--permission`), one warning is emitted and nothing is set. `NODE_DEBUG=tcp-keepalive`
 * logs the settings of each socket.
 * @module
 */
import { type DefaultsOptions, type DefaultsScope, installDefaults } from './defaults.js'
import { MIN_DEAD_PEER_TIMEOUT, type SlowReader } from './kernel/plan.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS } from './options/socket-options.js'
import { isMistaken, MAX_INTERVAL } from './options/units.js'

const PREFIX = 'TCP_KEEPALIVE_'
const DEFAULT_DEAD_PEER_MS = 60_000

/** The unit and the range of each number. */
const NUMBERS = {
  IDLE_S: ['seconds', 1, MAX_SECONDS],
  INTERVAL_S: ['seconds', 1, MAX_INTERVAL],
  COUNT: ['probes', 1, MAX_COUNT],
  USER_TIMEOUT_MS: ['milliseconds', 0, MAX_MILLISECONDS],
  DEAD_PEER_MS: ['milliseconds', MIN_DEAD_PEER_TIMEOUT, MAX_MILLISECONDS],
} as const
const WORDS = {
  SLOW_READER: ['keep', 'end'],
  SCOPE: ['client', 'server', 'all'],
  LOG: ['0', '1'],
} as const

type NumberName = keyof typeof NUMBERS
type WordName = keyof typeof WORDS

/** A variable of node-gyp-build, and those that Kubernetes sets for a service of this name. */
const NOT_OURS = /^TCP_KEEPALIVE_(PREBUILD$|SERVICE_|PORT(_|$))/

class Malformed extends Error {}

type Variables = Record<string, string>

/** The variables of this library in an environment. */
function variablesIn(environment: object): Variables {
  const ours = Object.entries(environment).filter(
    ([name]) => name.startsWith(PREFIX) && !NOT_OURS.test(name),
  )
  return Object.fromEntries(ours.map(([name, value]) => [name, String(value)]))
}

/**
 * PM2's cluster mode passes a program's variables as JSON in one variable, and copies them into
 * the environment only after preloaded modules have run.
 */
function variablesOfPm2(): Variables {
  try {
    return variablesIn(JSON.parse(process.env.pm2_env ?? '{}') ?? {})
  } catch {
    return {}
  }
}

const INHERITED = 'tcp-keepalive'

/** A worker may have its own environment, without its parent's variables. */
function variablesOfParent(): Variables {
  // Loading node:worker_threads costs the main thread, which has no parent, as much as node:net.
  const isWorker = (process.abort as { disabled?: boolean }).disabled === true
  return isWorker ? variablesIn(Object(workerThreads().getEnvironmentData(INHERITED))) : {}
}

function workerThreads(): typeof import('node:worker_threads') {
  return require('node:worker_threads') as typeof import('node:worker_threads')
}

function optionsFrom(variables: Variables): DefaultsOptions {
  const numbers: Partial<Record<NumberName, number>> = {}
  const words: Partial<Record<WordName, string>> = {}
  for (const [name, value] of Object.entries(variables)) {
    const field = name.slice(PREFIX.length)
    if (isNumber(field)) numbers[field] = numberFrom(name, value, NUMBERS[field])
    else if (isWord(field)) words[field] = wordFrom(name, value, WORDS[field])
    else throw new Malformed(`${name} is unknown. ${known()}`)
  }
  return toOptions(numbers, words)
}

function toOptions(
  {
    IDLE_S: idle,
    INTERVAL_S: interval,
    COUNT: count,
    USER_TIMEOUT_MS: userTimeout,
    DEAD_PEER_MS,
  }: Partial<Record<NumberName, number>>,
  { SLOW_READER, SCOPE }: Partial<Record<WordName, string>>,
): DefaultsOptions {
  const keepalive = idle ?? interval ?? count
  const ms =
    DEAD_PEER_MS ??
    (keepalive === undefined && userTimeout === undefined ? DEFAULT_DEAD_PEER_MS : undefined)
  if (ms === undefined && SLOW_READER !== undefined) {
    throw new Malformed(
      `${PREFIX}SLOW_READER needs ${PREFIX}DEAD_PEER_MS: it is an option of that timeout.`,
    )
  }
  return {
    keepalive: keepalive === undefined ? undefined : { idle, interval, count },
    userTimeout,
    deadPeerTimeout:
      ms === undefined ? undefined : { ms, slowReader: SLOW_READER as SlowReader | undefined },
    scope: SCOPE as DefaultsScope | undefined,
  }
}

function isNumber(field: string): field is NumberName {
  return Object.hasOwn(NUMBERS, field)
}

function isWord(field: string): field is WordName {
  return Object.hasOwn(WORDS, field)
}

function numberFrom(
  name: string,
  value: string,
  [unit, least, most]: readonly [string, number, number],
): number {
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
  const isMilliseconds = name === `${PREFIX}IDLE_S` && isMistaken('idle', number)
  if (number >= least && number <= most && !isMilliseconds) return number
  const but = isMilliseconds ? ', except for multiples of 1000 from 10000 on' : ''
  const advice =
    unit === 'seconds' && number >= 1000
      ? ` The unit is seconds: for ${number} ms write ${name}=${Math.round(number / 1000)}.`
      : ''
  throw new Malformed(
    `${name}=${JSON.stringify(value)} is not a whole number of ${unit} from ${least} to ${most}${but}.${advice}`,
  )
}

function wordFrom(name: string, value: string, words: readonly string[]): string {
  if (words.includes(value)) return value
  throw new Malformed(`${name}=${JSON.stringify(value)} is not one of ${words.join(', ')}.`)
}

/** Prints one line with the settings in force. */
function log({ scope = 'client', ...settings }: DefaultsOptions): void {
  process.stderr.write(
    `tcp-keepalive/register: process ${process.pid}, scope ${scope}: ${JSON.stringify(settings)}\n`,
  )
}

function known(): string {
  const names = [...Object.keys(NUMBERS), ...Object.keys(WORDS)].map((field) => PREFIX + field)
  return `The variables are ${names.join(', ')}.`
}

try {
  const variables = { ...variablesOfParent(), ...variablesIn(process.env), ...variablesOfPm2() }
  const options = optionsFrom(variables)
  // Without variables, a worker falls back to the same default.
  if (Object.keys(variables).length > 0) {
    workerThreads().setEnvironmentData(INHERITED, variables)
  }
  installDefaults(options)
  if (variables[`${PREFIX}LOG`] === '1') log(options)
} catch (error) {
  if (!(error instanceof Malformed)) {
    // The program can run without this library.
    process.emitWarning(`tcp-keepalive/register changes nothing: ${(error as Error).message}`, {
      code: 'TCP_KEEPALIVE_UNAVAILABLE',
    })
  } else {
    // No stack: the mistake is in the environment, not in the code.
    process.stderr.write(`tcp-keepalive/register: ${error.message}\n`)
    process.exit(9)
  }
}
