import { getSystemErrorName } from 'node:util'

/**
 * An error that the kernel made when it gave the peer up. Where it came inside another
 * (fetch's `cause`, an AggregateError), these fields are the inner error's.
 */
export interface DeadPeerError extends NodeJS.ErrnoException {
  code:
    | 'ETIMEDOUT'
    | 'EHOSTUNREACH'
    | 'EHOSTDOWN'
    | 'ENETUNREACH'
    | 'ECONNREFUSED'
    | 'EACCES'
    | 'ENOPROTOOPT'
  errno: number
  syscall: 'read' | 'write' | 'connect'
}

const CODES = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH'])
/**
 * What a firewall's ICMP leaves behind (net/ipv4/icmp.c, icmp_err_convert; net/ipv6/icmp.c,
 * tab_unreach). Of a connect it is an answer, and at once; of a connection that stands it
 * is only what the kernel calls the end, when its time is over.
 */
const CODES_OF_CONNECTED = new Set([...CODES, 'ECONNREFUSED', 'EACCES', 'ENOPROTOOPT'])
const CODES_OF: ReadonlyMap<unknown, ReadonlySet<string>> = new Map([
  ['connect', CODES],
  ['read', CODES_OF_CONNECTED],
  ['write', CODES_OF_CONNECTED],
])

/** No chain of causes that a program makes is longer than this. */
const MAX_DEPTH = 16

/**
 * Whether an error means that the kernel has given the peer up: it was silent for
 * longer than keepalive, the user timeout or the retransmissions allow.
 *
 * True for a numeric `errno` of ETIMEDOUT, EHOSTUNREACH, EHOSTDOWN or ENETUNREACH
 * (the kernel may report an earlier ICMP error instead of ETIMEDOUT) with syscall
 * `read`, `write` or `connect`, and of ECONNREFUSED, EACCES or ENOPROTOOPT with `read` or
 * `write`: a firewall that rejects was heard before the time was over. Looks through `cause` (as fetch makes it) and
 * through an AggregateError, of which all errors must be such. False for what
 * only looks like it: a driver's own timer, Node's attempt timeout, ECONNRESET,
 * EPIPE, a failed name look-up. (Where Node has tried several addresses, one that it
 * left after `autoSelectFamilyAttemptTimeout` counts as silent: its error is the same.)
 *
 * @example
 * socket.on('error', (error) => {
 *   if (isDeadPeerError(error)) reconnect()
 * })
 */
export function isDeadPeerError(error: unknown): error is DeadPeerError {
  return isVerdict(error, 0)
}

function isVerdict(error: unknown, depth: number): boolean {
  if (typeof error !== 'object' || error === null || depth > MAX_DEPTH) return false
  const { errno, syscall, errors, cause } = error as Record<string, unknown>
  if (CODES_OF.get(syscall)?.has(nameOf(errno))) return true
  if (Array.isArray(errors)) {
    return errors.length > 0 && errors.every((inner) => isVerdict(inner, depth + 1))
  }
  return isVerdict(cause, depth + 1)
}

/** The system's own name: a driver's timer may call itself ETIMEDOUT, but has no such number. */
function nameOf(errno: unknown): string {
  return Number.isSafeInteger(errno) && (errno as number) < 0
    ? getSystemErrorName(errno as number)
    : ''
}
