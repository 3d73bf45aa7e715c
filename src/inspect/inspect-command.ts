/** `tcp-keepalive inspect <pid>` */
import type { SystemDefaults } from '../kernel/system-defaults.js'
import { parse } from './arguments.js'
import { type Inspected, look, sorted } from './look.js'
import { visitSockets } from './other-process.js'
import { commandOf, defaultsOf } from './procfs.js'
import { table } from './table.js'

export const INSPECT_HELP = `Usage: tcp-keepalive inspect <pid> [--json]

Shows each TCP connection of a running process, in any language: its settings,
its unacknowledged data, how long the peer has been silent, and after what time
a dead peer would become an error, with nothing in flight and with data in
flight. The worst come first. Changes nothing and does not stop the process.

  --json   prints one object with connections and listeners. Times are in
           milliseconds, null means never; keepalive's idle and interval are
           in seconds.

The times follow from the kernel's rules. They do not include timeouts of the
process itself: its timers, heartbeats, or the sweep of setDeadPeerTimeout.

Requires Linux 5.6, and root (CAP_SYS_PTRACE) or, where the system allows it,
the user of the process.

Exit status: 0; 1 if on some connection a dead peer is never noticed while
nothing is in flight; 2 if the process could not be inspected.
`

/** What a command prints, and its exit status. */
export interface Answer {
  readonly status: number
  readonly output: string
}

export function inspect(words: readonly string[]): Answer {
  const { pid, given } = parse(words, [], ['json'])
  const defaults = defaultsOf(pid)
  const sockets = socketsOfProcess(pid, defaults ?? {})
  const everything = sorted(sockets)
  const never = everything.connections.some(({ neverNoticed }) => neverNoticed)
  const output = given.has('json')
    ? `${JSON.stringify({ pid, defaultsRead: defaults !== undefined, ...everything }, null, 2)}\n`
    : table(everything, pid, commandOf(pid), red) + noteOfDefaults(defaults)
  return { status: never ? 1 : 0, output }
}

function socketsOfProcess(pid: number, host: SystemDefaults): Inspected[] {
  const sockets: Inspected[] = []
  visitSockets(pid, 'inspect', undefined, (descriptor, fd) => {
    const socket = look(descriptor, fd, host)
    if (socket !== undefined) sockets.push(socket)
  })
  return sockets
}

/** The note for a process in a network namespace that cannot be entered. */
export function noteOfDefaults(defaults: SystemDefaults | undefined): string {
  return defaults === undefined
    ? '\nOnly root can read tcp_retries2 of its network namespace: 15 is assumed.\n'
    : ''
}

function red(text: string): string {
  const { stdout } = process
  // hasColors() knows NO_COLOR, FORCE_COLOR and TERM.
  return stdout.isTTY && stdout.hasColors() ? `\u001b[31m${text}\u001b[39m` : text
}
