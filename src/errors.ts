import { getSystemErrorMap, getSystemErrorName, inspect } from 'node:util'
import type { SocketOptionName } from './options/socket-options.js'

/**
 * setsockopt or getsockopt failed: the kernel refused an option.
 *
 * It has the fields of Node's own system errors. It is thrown if the socket has a descriptor. If
 * the settings had to wait for one, the socket is destroyed with it.
 */
export class SocketOptionError extends Error {
  override name = 'SocketOptionError'
  /** The error's name, such as `'ENOTSUP'`. */
  readonly code: string
  /** The system's error number, negative as everywhere in Node. */
  readonly errno: number
  /** The system call that failed. */
  readonly syscall: 'setsockopt' | 'getsockopt'
  /** The option that was refused. */
  readonly option: SocketOptionName
  /**
   * The options that this call had already changed when the kernel refused. Usually empty,
   * because the options that the kernel itself may refuse are written first. A seccomp or BPF
   * filter can still refuse a later one.
   */
  readonly changed: readonly SocketOptionName[]

  constructor(
    syscall: 'setsockopt' | 'getsockopt',
    errno: number,
    option: SocketOptionName,
    changed: readonly SocketOptionName[] = [],
    hint = '',
  ) {
    const code = getSystemErrorName(errno)
    const state = changed.length === 0 ? '' : ` (already changed: ${changed.join(', ')})`
    super(`${syscall} ${option} ${code}${state}${hint === '' ? '' : `: ${hint}`}`)
    this.code = code
    this.errno = errno
    this.syscall = syscall
    this.option = option
    this.changed = changed
  }
}

/** The errno of a code in this runtime, negative; on Windows libuv has its own numbers. */
export function errnoOf(code: 'ENOTSUP' | 'ETIMEDOUT'): number {
  for (const [errno, [name]] of getSystemErrorMap?.() ?? []) if (name === code) return errno
  const { constants } = require('node:os') as typeof import('node:os')
  return -constants.errno[code]
}

/** For a server whose connections have no TCP options. */
export function serverNotOnPort(option: SocketOptionName): SocketOptionError {
  return new SocketOptionError(
    'setsockopt',
    errnoOf('ENOTSUP'),
    option,
    [],
    'this server listens on a Unix-domain socket or a pipe, not on a TCP port',
  )
}

function coded<E extends Error>(error: E, code: string): E & { code: string } {
  // As Node's own errors: "TypeError [ERR_…]: …" in the stack, `name` unchanged.
  const { name } = error
  error.name = `${name} [${code}]`
  void error.stack
  const hidden = { value: name, writable: true, enumerable: false, configurable: true }
  Object.defineProperty(error, 'name', property(hidden))
  return Object.assign(error, { code })
}

/** A descriptor for Object.defineProperty that a polluted Object.prototype cannot extend. */
export function property(fields: PropertyDescriptor): PropertyDescriptor {
  // An object without a prototype costs more than the definition.
  const polluted = 'get' in Object.prototype || 'set' in Object.prototype
  return polluted ? Object.assign(Object.create(null), fields) : fields
}

/**
 * Options without inherited fields: a polluted Object.prototype must not set anything.
 */
export function unpolluted<T extends object>(options: T, names: Iterable<string>): T {
  for (const name of names) {
    if (name in Object.prototype) return Object.assign(Object.create(null), options)
  }
  return options
}

/** A value as an error message shows it; never throws. */
export function received(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  try {
    const name = typeof value === 'object' ? value.constructor?.name : undefined
    if (name && name !== 'Object' && name !== 'Array') return `an instance of ${name}`
    const text = inspect(value, {
      depth: 0,
      customInspect: false,
      maxArrayLength: 3,
      maxStringLength: 60,
      breakLength: Infinity,
    })
    return `${text.length > 120 ? `${text.slice(0, 120)}…` : text} (${typeof value})`
  } catch {
    return `a value of type ${typeof value}`
  }
}

/** The argument has the wrong type: what was expected, what was received, what to do. */
export function invalidType(
  name: string,
  expected: string,
  value: unknown,
  advice = '',
): TypeError {
  return coded(
    new TypeError(
      `Expected ${expected} for ${name} but received ${received(value)}.${sentence(advice)}`,
    ),
    'ERR_INVALID_ARG_TYPE',
  )
}

/** The argument has the right type but is not valid. */
export function invalidValue(message: string): TypeError {
  return coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE')
}

/**
 * Throws if there are more arguments than a function takes: they would be ignored, but were meant
 * to set something. `undefined` counts as omitted, as it does for fields.
 */
export function refuseMore(
  signature: string,
  most: number,
  all: IArguments,
  instead: string,
): void {
  const more = Array.from(all).slice(most)
  if (more.every((value) => value === undefined)) return
  throw invalidValue(
    `Expected no more than ${most} argument${most === 1 ? '' : 's'}, ${signature}, but received ${all.length}. ` +
      `Extra: ${more.map(received).join(', ')}. Write ${instead}.`,
  )
}

/** The number is out of range. */
export function outOfRange(
  name: string,
  expected: string,
  value: unknown,
  advice = '',
): RangeError {
  return coded(
    new RangeError(
      `Expected ${expected} for ${name} but received ${received(value)}.${sentence(advice)}`,
    ),
    'ERR_OUT_OF_RANGE',
  )
}

function sentence(advice: string): string {
  return advice === '' ? '' : ` ${advice}`
}

/** What to pass instead, by the name of the received class: `instanceof` would have to load each class. */
const BY_CLASS = new Map([
  ['Socket', 'A datagram socket has no TCP options.'],
  ['Server', 'In this runtime such a server has no TCP sockets below it.'],
  [
    'ClientRequest',
    "Pass its agent, or its socket once it has one: request.on('socket', (socket) => …).",
  ],
  [
    'WebSocketServer',
    "Pass the http server below it, or each connection's socket: in .on('connection', (webSocket, request) => …) that is request.socket.",
  ],
  [
    'WebSocket',
    "Pass the socket below it: a client of ws has it in .on('upgrade', (response) => …) as response.socket, a server's connection in the request of its 'connection' event. The global WebSocket does not expose its socket: use installDefaults.",
  ],
])

/** Targets that have no options of their own to read. */
const NOT_READ = new Map([
  ['getConnections', "Pass a connection of this server: the socket of its 'connection' event."],
  ['createSocket', "Pass a socket of this agent: that of a request's 'socket' event."],
])

/** What to pass instead of a wrong target; `reading` if only sockets are accepted. */
export function socketAdvice(value: unknown, reading = false): string {
  if (typeof value === 'number') return 'Descriptors are not accepted: pass the socket.'
  if (typeof value === 'function') {
    return 'listen' in value ? 'Pass what its listen() returns.' : ''
  }
  if (typeof value !== 'object' || value === null) return ''
  try {
    return adviceFor(value, reading)
  } catch {
    // An accessor has thrown.
    return ''
  }
}

function adviceFor(value: object, reading: boolean): string {
  if (reading) {
    for (const [method, advice] of NOT_READ) if (method in value) return advice
  }
  const { socket, server, on } = value as Record<string, unknown>
  if (typeof socket === 'object' && socket !== null) return 'Pass its socket property.'
  const known = BY_CLASS.get(value.constructor?.name)
  if (known !== undefined) return known
  if (typeof server === 'object' && server !== null) return 'Pass its server property.'
  return typeof on === 'function'
    ? "If it is a driver's pool or client: docs/clients.md shows how to reach its sockets, and installDefaults({ deadPeerTimeout: 30_000 }) sets all of them."
    : ''
}

/** The socket is destroyed, so it has no options any more. */
export function socketClosed(): Error {
  return coded(
    new Error(
      'The socket is closed: it was destroyed before this call. Use the socket of the new connection instead.',
    ),
    'ERR_SOCKET_CLOSED',
  )
}

/** There is no descriptor to read from yet. */
export function socketNotConnected(): Error {
  return coded(
    new Error(
      "The socket has no descriptor yet, so there is nothing to read. Call this after its 'connect' event.",
    ),
    'ERR_SOCKET_NOT_CONNECTED',
  )
}

/** This system or runtime does not support it. */
export function unavailable(message: string, cause?: unknown): Error {
  return coded(
    cause === undefined ? new Error(message) : new Error(message, { cause }),
    'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
  )
}

/** The error that Node would create for an errno: same message, errno, code and syscall. */
export function systemError(errno: number, syscall: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno)
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall })
}
