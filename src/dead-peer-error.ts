import { constants } from 'node:os'

/** An error that the kernel made when it gave the peer up. */
export interface DeadPeerError extends NodeJS.ErrnoException {
  code: 'ETIMEDOUT' | 'EHOSTUNREACH' | 'EHOSTDOWN' | 'ENETUNREACH'
  errno: number
  syscall: 'read' | 'write' | 'connect'
}

const ERRNOS = new Set<unknown>()
for (const name of ['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH'] as const) {
  const errno = (constants.errno as Record<string, number | undefined>)[name]
  if (errno !== undefined) ERRNOS.add(-Math.abs(errno))
}
if (process.platform === 'win32') {
  // libuv's own numbers, where the system's would be positive WSA codes.
  for (const errno of [-4039, -4081, -4031, -4062]) ERRNOS.add(errno)
}
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
 * EPIPE, a failed name look-up.
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
  if (ERRNOS.has(errno) && SYSCALLS.has(syscall)) return true
  if (Array.isArray(errors)) {
    return errors.length > 0 && errors.every((inner) => isVerdict(inner, depth + 1))
  }
  return isVerdict(cause, depth + 1)
}
