/** `tcp-keepalive set <pid> …` */
import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import { SocketOptionError } from '../errors.js'
import { deadPeerPlan, MIN_DEAD_PEER_TIMEOUT, nothingPlanned } from '../kernel/plan.js'
import type { SystemDefaults } from '../kernel/system-defaults.js'
import { NO_VALUES, type Settings } from '../options/settings.js'
import { MAX_COUNT, MAX_MILLISECONDS, MAX_SECONDS } from '../options/socket-options.js'
import { isMistaken, MAX_INTERVAL } from '../options/units.js'
import { writeTo } from '../options/write.js'
import { type Parsed, parse, quoted, UsageError, wholeNumber } from './arguments.js'
import { type Answer, noteOfDefaults } from './inspect-command.js'
import { type InspectedConnection, isConnection, look } from './look.js'
import { visitSockets } from './other-process.js'
import { defaultsOf, socketAt } from './procfs.js'
import { CannotLook } from './refusal.js'
import {
  duration,
  headings,
  noticedCells,
  plural,
  row,
  settingsCells,
  TAKES_NOTHING,
  text,
  titleLines,
  withoutPrefix,
} from './table.js'

export const SET_HELP = `Usage: tcp-keepalive set <pid> <which> <what> [--dry-run]

Sets keepalive and the user timeout on TCP connections of a running process, in
any language, without a restart. Shows the settings before and after. If the
peer is dead, the process then gets an error: in Node.js, read ETIMEDOUT.

Which connections (at least one; if you use several kinds, all must match):
  --fd <n>                 this descriptor; add --remote, as it may be reused
  --remote <host[:port]>   this peer: an address, [address]:port, or a name
  --port <n>               this port, local or remote
  --all                    every connection
--fd, --remote and --port may be repeated. Listeners are never set.

What:
  --dead-peer-timeout <ms>  all of the options below, so that a dead peer is
                            noticed within <ms> milliseconds, 2000 or more;
                            0 restores the defaults
or some of
  --idle <s>                keepalive on, first probe after <s> seconds
  --interval <s>            keepalive on, <s> seconds between probes
  --count <n>               keepalive on, ends after <n> unanswered probes
  --user-timeout <ms>       unacknowledged data times out after <ms>
                            milliseconds; 0: off

  --slow-reader end   --user-timeout and --dead-peer-timeout also disconnect a
                      live peer whose program does not read for that long.
                      Connections that have such a peer now are skipped, unless
                      this option is present.
  --dry-run           shows what would be set, and sets nothing

The process may set its connections again later. New connections are not
affected.

Requires Linux 5.6, and root (CAP_SYS_PTRACE) or, where the system allows it,
the user of the process.

Exit status: 0; 1 if a selected connection was skipped or refused; 2 if no
connection was selected, or the process could not be inspected.
`

const WHICH = ['fd', 'remote', 'port']
const WHAT = ['dead-peer-timeout', 'idle', 'interval', 'count', 'user-timeout', 'slow-reader']

export async function set(words: readonly string[]): Promise<Answer> {
  const parsed = parse(words, [...WHICH, ...WHAT], ['all', 'dry-run'], WHICH)
  const { pid, given } = parsed
  const chosen = await chosenBy(parsed)
  const defaults = defaultsOf(pid)
  const host = defaults ?? {}
  const settings = settingsFrom(parsed, host)
  const isTrial = given.has('dry-run')
  const sparesSlowReaders = settings.userTimeout > 0 && !given.has('slow-reader')

  const outcomes: Outcome[] = []
  visitSockets(pid, 'set', chosen.fds, (descriptor, fd, inode) => {
    const before = look(descriptor, fd, host)
    if (before === undefined || !isConnection(before) || !chosen.matches(before)) return
    const reason = reasonToLeave(before, sparesSlowReaders)
    if (reason !== undefined) {
      outcomes.push({ before, note: `skipped: ${reason}`, isSet: false })
      return
    }
    const wanted = connectionAt(descriptor, fd, host, settings)
    if (isTrial) {
      outcomes.push({ before, after: wanted, isSet: true })
      return
    }
    const refused = write(descriptor, settings)
    const after = connectionAt(descriptor, fd, host)
    const note =
      refused ??
      (socketAt(pid, fd) === inode && isSamePeer(before, after)
        ? isSameSetting(wanted, after)
        : 'the program has closed it in the meantime')
    outcomes.push({ before, after, note, isSet: refused === undefined })
  })
  if (outcomes.length === 0) throw nothingChosen(parsed)
  const missing = [...(chosen.fds ?? [])].filter(
    (fd) => !outcomes.some(({ before }) => before.fd === fd),
  )
  const isDone = missing.length === 0 && outcomes.every(({ note }) => note === undefined)
  const output = report(outcomes, missing, isTrial) + noteOfDefaults(defaults)
  return { status: isDone ? 0 : 1, output }
}

interface Outcome {
  readonly before: InspectedConnection
  /** The settings read back, or those that would be set; absent if nothing was set. */
  readonly after?: InspectedConnection | undefined
  /** What went wrong. */
  readonly note?: string | undefined
  readonly isSet: boolean
}

function connectionAt(
  descriptor: number,
  fd: number,
  host: SystemDefaults,
  instead?: Settings,
): InspectedConnection | undefined {
  const socket = look(descriptor, fd, host, 0, instead)
  return socket !== undefined && isConnection(socket) ? socket : undefined
}

function reasonToLeave(
  { state, windowClosed, takesNothing }: InspectedConnection,
  sparesSlowReaders: boolean,
): string | undefined {
  if (state === 'CLOSE') return 'it has ended already, and the program has not closed it'
  if (sparesSlowReaders && takesNothing) return `${TAKES_NOTHING} (--slow-reader end sets it)`
  if (sparesSlowReaders && windowClosed)
    return 'the peer accepts no data now, and may be alive (--slow-reader end sets it)'
  return undefined
}

function write(descriptor: number, settings: Settings): string | undefined {
  try {
    writeTo(descriptor, settings)
    return undefined
  } catch (error) {
    if (!(error instanceof SocketOptionError)) throw error
    const { option, code, changed } = error
    const others = changed.length === 0 ? '' : `, after ${changed.join(', ')}`
    return `refused: ${option} ${code}${others}`
  }
}

function isSamePeer(before: InspectedConnection, after: InspectedConnection | undefined): boolean {
  return (
    before.localPort === after?.localPort &&
    before.localAddress === after.localAddress &&
    before.remotePort === after.remotePort &&
    before.remoteAddress === after.remoteAddress
  )
}

function isSameSetting(
  wanted: InspectedConnection | undefined,
  after: InspectedConnection | undefined,
): string | undefined {
  const values = (connection: InspectedConnection | undefined): string =>
    JSON.stringify([connection?.keepalive, connection?.userTimeout])
  return values(wanted) === values(after)
    ? undefined
    : 'the program has set it again in the meantime'
}

// ------------------------------------------------------------- which

interface Chosen {
  /** The descriptors to look at; undefined: all. */
  readonly fds: ReadonlySet<number> | undefined
  matches(connection: InspectedConnection): boolean
}

async function chosenBy({ given }: Parsed): Promise<Chosen> {
  const kinds = WHICH.filter((kind) => given.has(kind))
  if (given.has('all') === kinds.length > 0) {
    throw new UsageError(
      given.has('all')
        ? `--all and --${kinds[0]} cannot be combined.`
        : 'Select connections with --fd, --remote, --port or --all.',
    )
  }
  const fds = given.get('fd')?.map((word) => wholeNumber('--fd', word, 0, 2 ** 31 - 1, 'a number'))
  const ports = given.get('port')?.map((word) => portOf('--port', word))
  const remotes = await Promise.all((given.get('remote') ?? []).map(remoteOf))
  return {
    fds: fds && new Set(fds),
    matches: (connection) =>
      (ports === undefined ||
        ports.includes(connection.localPort) ||
        ports.includes(connection.remotePort)) &&
      (remotes.length === 0 || remotes.some((matches) => matches(connection))),
  }
}

function portOf(option: string, word: string): number {
  return wholeNumber(option, word, 1, 65535, 'a port')
}

async function remoteOf(word: string): Promise<Chosen['matches']> {
  const bracketed = /^\[(.*)\](?::(.*))?$/.exec(word)
  const named = isIP(word) === 0 ? /^([^:]+):([^:]*)$/.exec(word) : null
  const [, host = word, portWord] = bracketed ?? named ?? []
  const port = portWord === undefined ? undefined : portOf('The port of --remote', portWord)
  const addresses = new BlockList()
  for (const { address, family } of await addressesOf(host, word)) {
    addresses.addAddress(address, family === 6 ? 'ipv6' : 'ipv4')
  }
  return ({ remoteAddress, remotePort }) => {
    const plain = withoutPrefix(remoteAddress)
    const isThere = addresses.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
    return isThere && (port === undefined || port === remotePort)
  }
}

async function addressesOf(
  host: string,
  word: string,
): Promise<{ address: string; family: number }[]> {
  // The kernel's address has no zone.
  const plain = withoutPrefix(host.replace(/%.*$/, ''))
  if (isIP(plain) !== 0) return [{ address: plain, family: isIP(plain) }]
  try {
    if (host === '' || host.includes(':')) throw new Error('neither a host nor an address')
    return await lookup(host, { all: true })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UsageError(`--remote ${quoted(word)} is not a known host: ${code ?? message}.`)
  }
}

function nothingChosen({ pid, given }: Parsed): CannotLook {
  const which = WHICH.flatMap((kind) =>
    (given.get(kind) ?? []).map((word) => `--${kind} ${quoted(word)}`),
  )
  const what = which.length === 0 ? '' : ` that matches ${which.join(' ')}`
  const moved = given.has('remote') ? ' A name may now resolve to another address.' : ''
  return new CannotLook(
    `Process ${pid} has no TCP connection${what}.${moved} To list its connections: npx tcp-keepalive inspect ${pid}`,
  )
}

// ------------------------------------------------------------- what

/** The option's value, or undefined. */
function numberOf(
  { given }: Parsed,
  option: string,
  least: number,
  most: number,
  unit: string,
): number | undefined {
  const [word] = given.get(option) ?? []
  return word === undefined ? undefined : wholeNumber(`--${option}`, word, least, most, unit)
}

function settingsFrom(parsed: Parsed, host: SystemDefaults): Settings {
  const { given } = parsed
  const what = WHAT.filter((option) => option !== 'slow-reader' && given.has(option))
  if (what.length === 0) {
    throw new UsageError(
      'Nothing to set: add --dead-peer-timeout, or some of --idle, --interval, --count, --user-timeout.',
    )
  }
  const [slowReader = 'end'] = given.get('slow-reader') ?? []
  if (slowReader !== 'end') {
    throw new UsageError(
      `--slow-reader must be end, not ${quoted(slowReader)}. Only the process itself can keep slow readers: setDeadPeerTimeout.`,
    )
  }
  const ms = milliseconds(parsed, 'dead-peer-timeout', MIN_DEAD_PEER_TIMEOUT)
  if (ms !== undefined && what.length > 1) {
    throw new UsageError(`--dead-peer-timeout sets everything: omit --${what[1]}.`)
  }
  if (ms !== undefined) {
    const plan = ms === 0 ? nothingPlanned('end', host) : deadPeerPlan(ms, 'end', host)
    const { idle, interval, count, userTimeout } = plan
    return { ...NO_VALUES, idle, interval, count, userTimeout, keepalive: ms === 0 ? 0 : 1 }
  }
  const keepalive = {
    idle: seconds(parsed, 'idle', MAX_SECONDS),
    interval: seconds(parsed, 'interval', MAX_INTERVAL),
    count: numberOf(parsed, 'count', 1, MAX_COUNT, 'a number of probes'),
    // Less than a second is too short for any peer, and most likely was meant as seconds.
    userTimeout: milliseconds(parsed, 'user-timeout', 1000),
  }
  const isOn = what.some((option) => option !== 'user-timeout')
  const set = Object.entries(keepalive).filter(([, value]) => value !== undefined)
  return { ...NO_VALUES, ...Object.fromEntries(set), ...(isOn ? { keepalive: 1 } : {}) }
}

/** 0 restores the default. */
function milliseconds(parsed: Parsed, option: string, least: number): number | undefined {
  if (parsed.given.get(option)?.[0] === '0') return 0
  const unit = 'a number of milliseconds, 0 or'
  return numberOf(parsed, option, least, MAX_MILLISECONDS, unit)
}

function seconds(parsed: Parsed, option: 'idle' | 'interval', most: number): number | undefined {
  const value = numberOf(parsed, option, 1, MAX_MILLISECONDS, 'a number of seconds')
  if (value === undefined || (value <= most && !isMistaken(option, value))) return value
  throw new UsageError(
    `--${option} is in seconds, 1 to ${most}, and ${value} looks like milliseconds: --${option} ${Math.round(value / 1000)}.`,
  )
}

// ------------------------------------------------------------- what is shown

/** Setting a user timeout does not start a timer: the kernel checks it at the next retransmission. */
function whenLooked({ userTimeout, nextRetransmissionMs: next }: InspectedConnection): string[] {
  if (!userTimeout || next === null) return []
  return [
    `       no answer yet: the kernel checks at the next retransmission, in ${duration(next)}`,
  ]
}

function report(
  outcomes: readonly Outcome[],
  missing: readonly number[],
  isTrial: boolean,
): string {
  const set = outcomes.filter(({ isSet }) => isSet).length
  const left = outcomes.length - set
  return text([
    ...headings('local > remote, state', ['keepalive', 'user timeout']),
    ...outcomes.flatMap(({ before, after, note }) => [
      ...titleLines(before),
      row('before', settingsCells(before), noticedCells(before)),
      ...(after === undefined
        ? []
        : [row(isTrial ? 'would' : 'after', settingsCells(after), noticedCells(after))]),
      ...(note === undefined ? [] : [`       ${note}`]),
      ...(isTrial || after === undefined ? [] : whenLooked(after)),
    ]),
    '',
    `${plural(set, 'connection')} ${isTrial ? 'would be set, nothing was' : 'set'}${left > 0 ? `, ${left} not` : ''}.`,
    ...missing.map((fd) => `Descriptor ${fd} is not a matching connection.`),
  ])
}
