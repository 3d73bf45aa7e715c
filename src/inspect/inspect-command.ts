/** `tcp-keepalive inspect <pid>` */
import type { SystemDefaults } from '../kernel/system-defaults.js'
import { parse } from './arguments.js'
import { type Inspected, look, sorted } from './look.js'
import { visitSockets } from './other-process.js'
import { commandOf, defaultsOf } from './procfs.js'
import { table } from './table.js'

export const INSPECT_HELP = `Usage: tcp-keepalive inspect <pid> [--json]

Shows each TCP connection of a running process, in any language: what is set, what
waits for the peer, for how long the peer has been silent, and after how long a dead
peer would be an error, with nothing in flight and with data in flight. The worst
first. Changes nothing, and never stops the process.

  --json   one object: connections, listeners. Times are milliseconds, null is never;
           keepalive's idle and interval are seconds.

The times are by the kernel's rules, and what the process itself does beside them does
not count: its own timeouts, heartbeats, or the sweep of setDeadPeerTimeout.

Needs Linux 5.6, and to be root (CAP_SYS_PTRACE) or, where the system allows it, the
process's own user.

Exit status: 0; 1 when on some connection a dead peer is never noticed while nothing
is in flight; 2 when it could not look.
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

/** The process is in a network namespace that cannot be entered. */
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
