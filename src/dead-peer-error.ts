import { getSystemErrorName } from 'node:util'

/**
 * An error that means that the peer was silent. If another error wraps it (fetch's `cause`,
 * an AggregateError, a driver's `original`), these fields are those of the inner error;
 * node-fetch has `erroredSysCall` in place of `syscall`.
 */
export interface DeadPeerError extends NodeJS.ErrnoException {
  /** ETIMEDOUT, or an earlier ICMP error, which the kernel reports instead. */
  code:
    | 'ETIMEDOUT'
    | 'EHOSTUNREACH'
    | 'EHOSTDOWN'
    | 'ENETUNREACH'
    | 'ECONNREFUSED'
    | 'EACCES'
    | 'ENOPROTOOPT'
  /** The system's error number, negative as everywhere in Node. */
  errno: number
  /** The system call, as Node reports it. */
  syscall: 'read' | 'write' | 'connect'
}

/** An established connection ends with these only after its retransmissions or probes. */
const ESTABLISHED = new Set([
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ECONNREFUSED',
  'EACCES',
  'ENOPROTOOPT',
])
/** For a connect, the others come at once: the peer refuses, or this host has no route. */
const CONNECTING = new Set(['ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN'])
const CODES_BY_SYSCALL = new Map<unknown, ReadonlySet<string>>([
  ['read', ESTABLISHED],
  ['write', ESTABLISHED],
  ['connect', CONNECTING],
])

/** No address family or no route: this host sent nothing, so the attempt says nothing about the peer. */
const NOTHING_SENT = new Set(['ENETUNREACH', 'EADDRNOTAVAIL'])

/** fetch, mongodb; sequelize; sequelize; mssql; cassandra-driver. */
const WRAPPERS = ['cause', 'original', 'parent', 'originalError', 'innerError']

/** No real error wraps more; accessors could return new objects forever. */
const MAX_VISITED = 500

/**
 * Whether an error means that the peer was silent for longer than keepalive, the user
 * timeout or the retransmissions allow.
 *
 * True for an error with a numeric `errno` (the kernel may report an earlier ICMP error
 * instead of ETIMEDOUT)
 * - of ETIMEDOUT, EHOSTUNREACH or EHOSTDOWN with syscall `read`, `write` or `connect`;
 * - of ENETUNREACH, ECONNREFUSED, EACCES or ENOPROTOOPT with `read` or `write`. With
 *   `connect` they are false: the peer refused, or this host had no route and sent nothing.
 *
 * Also checks `cause`, `original`, `parent`, `originalError` and `innerError`. An
 * AggregateError is true if all its errors are; an address to which this host could send
 * nothing (`connect` ENETUNREACH or EADDRNOTAVAIL) is ignored there. Also true for the error
 * of node-fetch 3, which has the code in `errno`, and `erroredSysCall`. False for similar errors:
 * a driver's own timer, Node's attempt timeout, ECONNRESET, EPIPE, a failed name lookup.
 *
 * On Windows some dead peers are false. Winsock may report them as WSAENETRESET or
 * WSAECONNABORTED. For the first, Node has no code and reports UNKNOWN, as for a local network
 * that is down; the second it reports as ECONNRESET (`read`) or ECANCELED (`write`), which also
 * mean a reset and a local abort. WSAETIMEDOUT is ETIMEDOUT, and true.
 *
 * In two cases it is true although the peer may be alive, because the error is the same: an
 * address that Node abandoned after `autoSelectFamilyAttemptTimeout`, if it tried several; and a
 * `connect EHOSTUNREACH` that an `unreachable` route or a firewall caused at once. So wait before
 * you reconnect.
 *
 * @throws Nothing, whatever the argument is.
 * @platform All.
 * @see tcp(7); net/ipv4/tcp_timer.c, tcp_write_err, for the earlier ICMP error; libuv's
 * src/win/error.c and tcp.c
 *
 * @example
 * socket.on('error', (error) => {
 *   if (isDeadPeerError(error)) reconnect()
 * })
 * isDeadPeerError(new Error('my own timer: ETIMEDOUT')) // => false
 */
export function isDeadPeerError(error: unknown): error is DeadPeerError {
  try {
    return meansDeadPeer(error, new Map()) === true
  } catch {
    // An accessor or a revoked proxy has thrown.
    return false
  }
}

/** `undefined` if this host sent nothing, so the error says nothing about the peer. */
type Answer = boolean | undefined

/** Visits each object once: with several wrappers per level the number of paths would explode. */
function meansDeadPeer(error: unknown, visited: Map<object, Answer>): Answer {
  if (typeof error !== 'object' || error === null) return false
  if (visited.has(error)) return visited.get(error)
  if (visited.size === MAX_VISITED) return false
  // For an error that wraps itself.
  visited.set(error, false)
  const { syscall, code } = systemCallOf(error)
  const answer = CODES_BY_SYSCALL.get(syscall)?.has(code)
    ? true
    : syscall === 'connect' && NOTHING_SENT.has(code)
      ? undefined
      : wrapsDeadPeer(error as Record<string, unknown>, visited)
  visited.set(error, answer)
  return answer
}

function wrapsDeadPeer(error: Record<string, unknown>, visited: Map<object, Answer>): boolean {
  const { errors } = error
  if (!Array.isArray(errors)) return WRAPPERS.some((name) => meansDeadPeer(error[name], visited))
  let some = false
  // Not every(), which skips the holes of a sparse array.
  for (const inner of errors) {
    const answer = meansDeadPeer(inner, visited)
    if (answer === false) return false
    some ||= answer === true
  }
  return some
}

/** The system call and the name of its errno. A driver's timer may use the code ETIMEDOUT, but has no errno. */
function systemCallOf(error: object): { syscall: unknown; code: string } {
  const { errno, syscall, erroredSysCall } = error as Record<string, unknown>
  // node-fetch 3 copies the code into `errno`, and Node's `syscall` into `erroredSysCall`.
  if (typeof errno === 'string') return { syscall: erroredSysCall, code: errno }
  const isNumber = Number.isSafeInteger(errno) && (errno as number) < 0
  return { syscall, code: isNumber ? getSystemErrorName(errno as number) : '' }
}
