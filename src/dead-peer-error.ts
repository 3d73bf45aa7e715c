import { getSystemErrorName } from 'node:util'

/**
 * An error that says that the peer was silent. Where it came inside another
 * (fetch's `cause`, an AggregateError, a driver's `original`), these fields are the
 * inner error's; node-fetch calls `syscall` `erroredSysCall`.
 */
export interface DeadPeerError extends NodeJS.ErrnoException {
  /** ETIMEDOUT, or the ICMP error that came before it. */
  code:
    | 'ETIMEDOUT'
    | 'EHOSTUNREACH'
    | 'EHOSTDOWN'
    | 'ENETUNREACH'
    | 'ECONNREFUSED'
    | 'EACCES'
    | 'ENOPROTOOPT'
  /** The system's number of it, negative as everywhere in Node. */
  errno: number
  /** The call that Node reports the error of. */
  syscall: 'read' | 'write' | 'connect'
}

/** A connection that is established ends with these only after its retransmissions or probes. */
const ESTABLISHED = new Set([
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ECONNREFUSED',
  'EACCES',
  'ENOPROTOOPT',
])
/** Of a connect the others come at once: the peer refuses, or this host has no route. */
const CONNECTING = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN'])
const VERDICTS = new Map<unknown, ReadonlySet<string>>([
  ['read', ESTABLISHED],
  ['write', ESTABLISHED],
  ['connect', CONNECTING],
])

/** No address family or no route: this host has not asked, so the attempt says nothing of the peer. */
const NOT_ASKED = new Set(['ENETUNREACH', 'EADDRNOTAVAIL'])

/** fetch, mongodb; sequelize; sequelize; mssql; cassandra-driver. */
const WRAPPERS = ['cause', 'original', 'parent', 'originalError', 'innerError']

/** No error that a program makes holds more; accessors may go on for ever. */
const MAX_VISITED = 500

/**
 * Whether an error means that the peer was silent, for longer than keepalive, the user
 * timeout or the retransmissions allow.
 *
 * True for a numeric `errno` (the kernel may report an earlier ICMP error instead of
 * ETIMEDOUT)
 * - of ETIMEDOUT, EHOSTUNREACH or EHOSTDOWN with syscall `read`, `write` or `connect`;
 * - of ENETUNREACH, ECONNREFUSED, EACCES or ENOPROTOOPT with `read` or `write`. With
 *   `connect` they are false: the peer refused, or this host had no route and asked nothing.
 *
 * Looks through `cause`, `original`, `parent`, `originalError` and `innerError`, and
 * through an AggregateError, of which all errors must be such; an address that this host
 * could not even try (`connect` ENETUNREACH or EADDRNOTAVAIL) does not count there. Also
 * true for the error of node-fetch 3, which names the code and the `erroredSysCall`.
 * False for what only looks like it: a driver's own timer, Node's attempt timeout,
 * ECONNRESET, EPIPE, a failed name look-up.
 *
 * Two look the same and are true: where Node has tried several addresses, one that it
 * left after `autoSelectFamilyAttemptTimeout`; and `connect EHOSTUNREACH` that an
 * `unreachable` route or a firewall made at once. So pause before you connect again.
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
    return isVerdict(error, new Map()) === true
  } catch {
    // An accessor's, or a revoked proxy's.
    return false
  }
}

/** Undefined where this host has not asked, so that it says nothing of any peer. */
type Answer = boolean | undefined

/** Each object is looked at once: several wrappers at each level would make paths without number. */
function isVerdict(error: unknown, visited: Map<object, Answer>): Answer {
  if (typeof error !== 'object' || error === null) return false
  if (visited.has(error)) return visited.get(error)
  if (visited.size === MAX_VISITED) return false
  // What leads back to itself is none.
  visited.set(error, false)
  const { syscall, code } = systemCallOf(error)
  const answer = VERDICTS.get(syscall)?.has(code)
    ? true
    : syscall === 'connect' && NOT_ASKED.has(code)
      ? undefined
      : holdsVerdict(error as Record<string, unknown>, visited)
  visited.set(error, answer)
  return answer
}

function holdsVerdict(error: Record<string, unknown>, visited: Map<object, Answer>): boolean {
  const { errors } = error
  if (!Array.isArray(errors)) return WRAPPERS.some((name) => isVerdict(error[name], visited))
  let some = false
  // Not every(), which passes over the holes of a sparse array.
  for (const inner of errors) {
    const answer = isVerdict(inner, visited)
    if (answer === false) return false
    some ||= answer === true
  }
  return some
}

/** The system's own name: a driver's timer may call itself ETIMEDOUT, but has no such number. */
function systemCallOf(error: object): { syscall: unknown; code: string } {
  const { errno, syscall, erroredSysCall } = error as Record<string, unknown>
  // node-fetch 3 copies the name, in place of the number, and the call of an error of Node's.
  if (typeof errno === 'string') return { syscall: erroredSysCall, code: errno }
  const isNumber = Number.isSafeInteger(errno) && (errno as number) < 0
  return { syscall, code: isNumber ? getSystemErrorName(errno as number) : '' }
}
