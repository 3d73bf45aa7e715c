import { getSystemErrorMap, getSystemErrorName, inspect } from 'node:util'
import type { SocketOptionName } from './options/socket-options.js'

/**
 * The kernel refused to set or to tell an option.
 *
 * Shaped like Node's own system errors. Where a descriptor exists it is thrown;
 * where the settings had to wait for one, the socket is destroyed with it.
 */
export class SocketOptionError extends Error {
  override name = 'SocketOptionError'
  /** The system's name of the error, such as `'ENOTSUP'`. */
  readonly code: string
  /** The system's number of the error, negative as everywhere in Node. */
  readonly errno: number
  /** The call that was refused. */
  readonly syscall: 'setsockopt' | 'getsockopt'
  /** The option that was refused. */
  readonly option: SocketOptionName
  /**
   * The options that this call had already changed when the kernel refused.
   * Mostly empty: they are written in an order that makes the kernel's own
   * refusals come first. A seccomp or BPF filter can still refuse a later one.
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

/** An error as this runtime numbers it, negative; Windows' libuv has numbers of its own. */
export function errnoOf(code: 'ENOTSUP' | 'ETIMEDOUT'): number {
  for (const [errno, [name]] of getSystemErrorMap?.() ?? []) if (name === code) return errno
  const { constants } = require('node:os') as typeof import('node:os')
  return -constants.errno[code]
}

/** A server's connections have no TCP options. */
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
  // As Node's own errors read: "TypeError [ERR_…]: …" in the stack, `name` unchanged.
  const { name } = error
  error.name = `${name} [${code}]`
  void error.stack
  const hidden = { value: name, writable: true, enumerable: false, configurable: true }
  Object.defineProperty(error, 'name', property(hidden))
  return Object.assign(error, { code })
}

/** What Object.defineProperty takes, without what a polluted Object.prototype would add. */
export function property(fields: PropertyDescriptor): PropertyDescriptor {
  // One without a prototype costs more than the definition.
  const polluted = 'get' in Object.prototype || 'set' in Object.prototype
  return polluted ? Object.assign(Object.create(null), fields) : fields
}

/**
 * Options without what somebody has put on Object.prototype under these names: that is
 * meant for nobody.
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

/** The argument has the wrong type: what was expected, what came, what to do. */
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

/** The argument has the right type but makes no sense. */
export function invalidValue(message: string): TypeError {
  return coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE')
}

/**
 * More arguments than a function takes: they would be ignored, and were meant to set something.
 * Undefined ones are absent, as fields are.
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
    `Expected no more than ${most} argument${most === 1 ? '' : 's'}, ${signature}, but received ${all.length}, ` +
      `which end with ${more.map(received).join(', ')}. Write ${instead}.`,
  )
}

/** The number is not one that the kernel takes. */
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

/** What to pass instead, by the name of the class that came: loading each to ask `instanceof` would cost more. */
const BY_CLASS = new Map([
  ['Socket', 'A datagram socket has no TCP options.'],
  ['Server', 'This runtime has no TCP sockets below such a server.'],
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
    "Pass the socket below it: a client of ws has it in .on('upgrade', (response) => …) as response.socket, a server's connection in the request of its 'connection' event. The global WebSocket does not show its socket: installDefaults sets it.",
  ],
])

/** What has no option of its own that could be read. */
const NOT_READ = new Map([
  ['getConnections', "Pass a connection of this server: the socket of its 'connection' event."],
  ['createSocket', "Pass a socket of this agent: that of a request's 'socket' event."],
])

/** What to pass instead of something that is no socket; `reading`, where only sockets do. */
export function socketAdvice(value: unknown, reading = false): string {
  if (typeof value === 'number') return 'Descriptors are not taken: pass the socket.'
  if (typeof value === 'function') {
    return 'listen' in value ? 'Pass what its listen() returns.' : ''
  }
  if (typeof value !== 'object' || value === null) return ''
  try {
    return adviceFor(value, reading)
  } catch {
    // An accessor's.
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
    ? "If it is a driver's pool or client: docs/clients.md shows how to reach its sockets, and installDefaults({ deadPeerTimeout: 30_000 }) sets them all."
    : ''
}

/** The socket has been destroyed: there is nothing left to set or to read. */
export function socketClosed(): Error {
  return coded(
    new Error(
      'The socket is closed: it was destroyed before this call. Set the new connection instead.',
    ),
    'ERR_SOCKET_CLOSED',
  )
}

/** There is no descriptor to read from yet. */
export function socketNotConnected(): Error {
  return coded(
    new Error(
      "The socket has no descriptor yet, so the kernel can tell nothing. Read it after its 'connect' event.",
    ),
    'ERR_SOCKET_NOT_CONNECTED',
  )
}

/** This system or runtime cannot do it. */
export function unavailable(message: string, cause?: unknown): Error {
  return coded(
    cause === undefined ? new Error(message) : new Error(message, { cause }),
    'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
  )
}

/** The error that Node makes of a kernel's verdict: same message, errno, code and syscall. */
export function systemError(errno: number, syscall: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno)
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall })
}
