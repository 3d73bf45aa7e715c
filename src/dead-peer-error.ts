import { getSystemErrorName } from 'node:util'

/**
 * An error that the kernel made when it gave the peer up. Where it came inside another
 * (fetch's `cause`, an AggregateError), these fields are the inner error's.
 */
export interface DeadPeerError extends NodeJS.ErrnoException {
  /** ETIMEDOUT, or the ICMP error that came before it. */
  code: 'ETIMEDOUT' | 'EHOSTUNREACH' | 'EHOSTDOWN' | 'ENETUNREACH'
  /** The system's number of it, negative as everywhere in Node. */
  errno: number
  /** What Node was doing when the kernel told it. */
  syscall: 'read' | 'write' | 'connect'
}

const CODES = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH'])
const SYSCALLS = new Set<unknown>(['read', 'write', 'connect'])

/** No chain of causes that a program makes is longer than this. */
const MAX_DEPTH = 16

/**
 * Whether an error means that the kernel has given the peer up: it was silent for
 * longer than keepalive, the user timeout or the retransmissions allow.
 *
 * True for a numeric `errno` of ETIMEDOUT, EHOSTUNREACH, EHOSTDOWN or ENETUNREACH
 * (the kernel may report an earlier ICMP error instead of ETIMEDOUT) with syscall
 * `read`, `write` or `connect`. Looks through `cause` (as fetch makes it) and
 * through an AggregateError, of which all errors must be such. False for what
 * only looks like it: a driver's own timer, Node's attempt timeout, ECONNRESET,
 * EPIPE, a failed name look-up. (Where Node has tried several addresses, one that it
 * left after `autoSelectFamilyAttemptTimeout` counts as silent: its error is the same.)
 *
 * @throws Nothing, whatever it is given.
 * @platform All.
 * @see tcp(7); net/ipv4/tcp_timer.c, tcp_write_err, for the earlier ICMP error
 *
 * @example
 * socket.on('error', (error) => {
 *   if (isDeadPeerError(error)) reconnect()
 * })
 * isDeadPeerError(new Error('a timer of my own: ETIMEDOUT')) // => false
 */
export function isDeadPeerError(error: unknown): error is DeadPeerError {
  try {
    return isVerdict(error, 0)
  } catch {
    // An accessor's, or a revoked proxy's.
    return false
  }
}

function isVerdict(error: unknown, depth: number): boolean {
  if (typeof error !== 'object' || error === null || depth > MAX_DEPTH) return false
  const { errno, syscall, errors, cause } = error as Record<string, unknown>
  if (SYSCALLS.has(syscall) && CODES.has(nameOf(errno))) return true
  if (Array.isArray(errors)) {
    // Not every(), which passes over the holes of a sparse array.
    for (const inner of errors) if (!isVerdict(inner, depth + 1)) return false
    return errors.length > 0
  }
  return isVerdict(cause, depth + 1)
}

/** The system's own name: a driver's timer may call itself ETIMEDOUT, but has no such number. */
function nameOf(errno: unknown): string {
  return Number.isSafeInteger(errno) && (errno as number) < 0
    ? getSystemErrorName(errno as number)
    : ''
}
