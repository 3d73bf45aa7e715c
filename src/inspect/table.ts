/** The output of `inspect` and `set`: lines of at most 80 columns. */
import type { InspectedConnection, InspectedListener, InspectedSockets } from './look.js'

const WIDTH = 80
/** The width of the descriptor's column. */
const INDENT = 7
/** The widths of the other columns. The last two show when a dead peer is noticed. */
const COLUMNS = [16, 13, 11, 11, 10, 10]
const BEFORE_NOTICED = 58

export type Paint = (text: string) => string

/** `200 ms`, `3.4 s`, `15.6 min`, `2.2 h`, `24.9 d`; a value that was set is shown exactly. */
export function duration(ms: number | null): string {
  if (ms === null) return 'never'
  if (ms < 1000) return `${Math.round(ms)} ms`
  const [unit, length] = UNITS.find(([, , end]) => ms < end) ?? ['d', 86_400_000]
  return `${Math.round((10 * ms) / length) / 10} ${unit}`
}

/** Each ends a little below the next unit, because of rounding. Seconds go up to two minutes, because settings are in seconds. */
const UNITS: readonly (readonly [name: string, length: number, end: number])[] = [
  ['s', 1000, 119_950],
  ['min', 60_000, 7_197_000],
  ['h', 3_600_000, 172_620_000],
]

function amount(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  return bytes < 999_950 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
}

/** `10.0.0.5:5432`, `[::1]:5432`; an IPv4 address on an IPv6 socket without its prefix. */
function addressText(address: string, port: number): string {
  const plain = withoutPrefix(address)
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`
}

export function withoutPrefix(address: string): string {
  return address.replace(/^::ffff:(?=[\d.]+$)/, '')
}

/** The table of `inspect`. */
export function table(
  { connections, listeners }: InspectedSockets,
  pid: number,
  command: string,
  red: Paint,
): string {
  const never = connections.filter(({ neverNoticed }) => neverNoticed).length
  return text([
    // A process can put control characters into its name.
    `Process ${pid}: ${command.replace(/\p{C}/gu, '?')}`.slice(0, WIDTH),
    `${plural(connections.length, 'TCP connection')}, ${plural(listeners.length, 'listener')}`,
    ...(connections.length === 0 ? [] : ['', ...connectionsTable(connections, red)]),
    ...(listeners.length === 0 ? [] : ['', ...listenersTable(listeners)]),
    ...(never === 0 ? [] : ['', ...neverAdvice(never, pid, red)]),
  ])
}

export function text(lines: readonly string[]): string {
  return lines.map((line) => `${line.trimEnd()}\n`).join('')
}

function connectionsTable(connections: readonly InspectedConnection[], red: Paint): string[] {
  return [
    ...headings('local > remote, state', ['keepalive', 'user timeout', 'waiting', 'silent for']),
    ...connections.flatMap((connection) => [
      ...titleLines(connection),
      row(
        '',
        [
          ...settingsCells(connection),
          amount(connection.unacknowledgedBytes),
          connection.silentMs === null ? '-' : duration(connection.silentMs),
        ],
        noticedCells(connection),
        red,
      ),
      ...notes(connection).map((note) => `${' '.repeat(INDENT)}${note}`),
    ]),
    '',
    'keepalive: idle s/interval s/probes. waiting: not acknowledged by the peer.',
    'noticed: this long after its last segment, or after the first byte in flight.',
  ]
}

/** The two heading lines of connections. */
export function headings(title: string, columns: readonly string[]): string[] {
  return [
    row('fd', [title.padEnd(BEFORE_NOTICED - INDENT)], ['a dead peer is noticed', '']),
    row('', columns, ['idle', 'in flight']),
  ]
}

/** Two lines if the addresses are long. */
export function titleLines(connection: InspectedConnection): string[] {
  const { fd, localAddress, localPort, remoteAddress, remotePort, state } = connection
  const local = `${String(fd).padEnd(INDENT)}${addressText(localAddress, localPort)}`
  const remote = `> ${addressText(remoteAddress, remotePort)}  ${state}`
  if (local.length + 1 + remote.length <= WIDTH) return [`${local} ${remote}`]
  return [local, `${' '.repeat(INDENT)}${remote}`]
}

/** `first` goes into the descriptor's column. */
export function row(
  first: string,
  columns: readonly string[],
  noticed: readonly [string, string],
  red: Paint = (plain) => plain,
): string {
  const padded = (cell: string, index: number): string => cell.padEnd(COLUMNS[index] as number)
  const [idle, inFlight] = noticed
  return [
    `${first.padEnd(INDENT)}${columns.map(padded).join('')}`.padEnd(BEFORE_NOTICED),
    idle === 'never' ? red(padded(idle, 4)) : padded(idle, 4),
    inFlight,
  ].join('')
}

export function settingsCells({
  keepalive: { enabled, idle, interval, count },
  userTimeout,
}: Pick<InspectedConnection, 'keepalive' | 'userTimeout'>): [string, string] {
  return [
    enabled ? `${idle}/${interval}/${count}` : 'off',
    userTimeout === null ? 'has none' : userTimeout === 0 ? 'off' : duration(userTimeout),
  ]
}

export function noticedCells(connection: InspectedConnection): [string, string] {
  const { state, detection, windowClosed } = connection
  if (state === 'CLOSE') return ['-', '-']
  if (state === 'SYN_SENT' || state === 'SYN_RECV') return ['-', duration(detection.connecting)]
  return [
    duration(detection.idle),
    duration(windowClosed ? detection.zeroWindow : detection.unacknowledged),
  ]
}

/** What is wrong with it, as far as one reading shows. */
function notes(connection: InspectedConnection): string[] {
  const { unreadBytes } = connection
  const note = noteOfPeer(connection)
  return [
    ...(note === undefined ? [] : [note]),
    ...(unreadBytes > 0 ? [`${amount(unreadBytes)} received that the program has not read`] : []),
  ]
}

function noteOfPeer(connection: InspectedConnection): string | undefined {
  const { state, retransmits, probes, windowClosed, takesNothing, nextRetransmissionMs } =
    connection
  if (state === 'CLOSE') return 'ended, and the program has not closed it'
  if (state === 'SYN_SENT')
    return `connecting, and no answer: ${plural(retransmits, 'SYN')} retransmitted`
  const unanswered = Math.max(probes, retransmits)
  // The last one may have been sent just now.
  if (windowClosed && (takesNothing || unanswered < 2)) return `${TAKES_NOTHING}: a slow reader`
  if (windowClosed) return `window closed, and no answer: ${plural(unanswered, 'probe')}`
  if (takesNothing) return `${TAKES_NOTHING}: a slow reader, or packet loss`
  if (nextRetransmissionMs !== null) {
    const next = duration(nextRetransmissionMs)
    return `in flight, and no answer: ${plural(retransmits, 'retransmission')}, the next in ${next}`
  }
  if (probes > 0) return `idle, and no answer: ${plural(probes, 'keepalive probe')}`
  return undefined
}

/** A peer whose program does not read. */
export const TAKES_NOTHING = 'the peer answers but accepts no data'

function listenersTable(listeners: readonly InspectedListener[]): string[] {
  return [
    `${'fd'.padEnd(INDENT)}listener: what accepted connections inherit`,
    ...listeners.flatMap((listener) => {
      const { fd, localAddress, localPort, acceptQueue, backlog } = listener
      const [keepalive, userTimeout] = settingsCells(listener)
      return [
        `${String(fd).padEnd(INDENT)}${addressText(localAddress, localPort)}`,
        `${' '.repeat(INDENT)}keepalive ${keepalive}, user timeout ${userTimeout}; queue ${acceptQueue} of ${backlog}`,
      ]
    }),
  ]
}

function neverAdvice(never: number, pid: number, red: Paint): string[] {
  return [
    red(
      `On ${plural(never, 'connection')} a dead peer is never noticed while nothing is in flight.`,
    ),
    'To set every connection without a restart, run this without --dry-run:',
    `  npx tcp-keepalive set ${pid} --all --dead-peer-timeout 60000 --dry-run`,
  ]
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
