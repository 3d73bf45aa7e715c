import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { unavailable } from './errors.js'
import { loadAdvice } from './load-advice.js'

/** The compiled binding: integers in, an integer out; a negative result is a refusal. */
interface Binding {
  readonly integers: ArrayBuffer
  readonly fields: ArrayBuffer
  /** Sets option n to `integers[n]`; a negative value leaves it unchanged. Returns 0 or a refusal (`decodeRefusal`). */
  set(descriptor: number): number
  /** Bit n of `options` requests option n, which goes to `integers[n]`. Returns 0 or a refusal (`decodeRefusal`). */
  get(descriptor: number, options: number): number
  /** Reads the pending error (positive, 0 for none), which clears it in the kernel. */
  takeError(descriptor: number): number
  /**
   * Each of `count` connections has `OUTSTANDING_FIELDS` numbers, the first a descriptor. They are
   * replaced by `Outstanding` of native/sockopt.h, in its order.
   */
  sweep(connections: ArrayBuffer, count: number): number
  /** Returns the peer's port; its address goes to `integers` as zero-terminated bytes. */
  peerAddress(descriptor: number): number
  /** TCP_INFO into `fields`; returns the bytes that the kernel wrote. */
  tcpInfo(descriptor: number): number
  /** 1 drops all segments that arrive for this one socket, 0 ends that. */
  unplug(descriptor: number, unplugged: number): number
  /** The sum of the available `CAPABILITY` bits; negative if that could not be determined. */
  capabilities(): number
  /** The number of received bytes that have not been read. */
  unread(descriptor: number): number
  /**
   * Opens this environment's watcher. `notify` is called with the descriptor and the ticket of each
   * watched connection that has ended, and with -1 when the timer has expired.
   */
  open(notify: (descriptor: number, ticket: number) => void): number
  /** Closes the watcher. */
  shut(): number
  /** Watches a descriptor for the end of its connection, under a ticket. */
  watch(descriptor: number, ticket: number): number
  /** Sets the watcher's one timer, replacing the earlier time. */
  setTimer(ms: number): number
  /** Milliseconds of a monotonic clock, which fake timers do not replace. */
  now(): number
  /** On Linux: opens a descriptor of a process, for `takeDescriptor`; close both. */
  openProcess?(pid: number): number
  /** On Linux: duplicates a descriptor of that process into this one. */
  takeDescriptor?(process: number, descriptor: number): number
  /** On Linux: as `peerAddress`, for the local address. */
  localAddress?(descriptor: number): number
  /** On Linux: the number of written bytes that the peer has not acknowledged. */
  unacknowledged?(descriptor: number): number
  /** Everywhere except on Windows. */
  close?(descriptor: number): number
  /** On Windows: the descriptor of the socket with these addresses; the remote one of a listener is `''` and 0. */
  findSocket?(
    localAddress: string,
    localPort: number,
    remoteAddress: string,
    remotePort: number,
  ): number
}

/** The binding, with views of its shared memory. */
export interface Native extends Omit<Binding, 'integers' | 'fields'> {
  readonly integers: Int32Array
  readonly bytes: Uint8Array
  readonly fields: Float64Array
  /** The exports as Node loaded them: one object per file, also for several copies of this package. */
  readonly binding: Binding
}

let loaded: Native | undefined
let failure: Error | undefined

/** Loads the binding at the first use, so that an import never fails. */
export function native(): Native {
  return loaded ?? load()
}

function load(): Native {
  // Cached: searching the file system again for each connection would find nothing new.
  if (failure !== undefined) throw failure
  let binding: Binding
  try {
    const find = require('node-gyp-build') as (folder: string) => Binding
    binding = find(join(__dirname, '..'))
  } catch (cause) {
    const error = unavailable(loadAdvice(cause), cause)
    if (!noFileOpens()) failure = error
    throw error
  }
  loaded = {
    ...binding,
    integers: new Int32Array(binding.integers),
    bytes: new Uint8Array(binding.integers),
    fields: new Float64Array(binding.fields),
    binding,
  }
  return loaded
}

/** Whether no descriptor is free: then the binary only seems to be absent. */
function noFileOpens(): boolean {
  try {
    readdirSync('/')
    return false
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EMFILE' || code === 'ENFILE'
  }
}

/** The indexes, in ReadTcpInfo of native/sockopt_linux.cc, of the fields that this library uses itself. */
export const TCP_INFO = {
  state: 0,
  retransmits: 1,
  probes: 2,
  rtoUs: 4,
  rttUs: 5,
  rttVariationUs: 6,
  unacknowledged: 9,
  sinceDataSent: 21,
  sinceDataReceived: 22,
  sinceAck: 23,
  sendWindow: 26,
} as const

/** Splits a refusal of `set` or `get` into the option's index and the (negative) errno. */
export function decodeRefusal(result: number): { option: number; errno: number } {
  return { option: -result >> 16, errno: -(-result & 0xffff) }
}

/** `Capability` of native/sockopt.h. */
export const CAPABILITY = { tcpInfo: 1, unplug: 2 } as const

let capabilities: number | undefined

/**
 * Whether the system really has it. Determined once. While no socket can be opened for the check, and
 * if no binary can be loaded (a plan needs none), it is assumed on Linux.
 */
export function has(capability: keyof typeof CAPABILITY): boolean {
  capabilities ??= findCapabilities()
  return capabilities === undefined
    ? process.platform === 'linux'
    : (capabilities & CAPABILITY[capability]) !== 0
}

function findCapabilities(): number | undefined {
  try {
    const found = native().capabilities()
    return found < 0 ? undefined : found
  } catch {
    return undefined
  }
}

/** Why `has('unplug')` is false. */
export const NO_UNPLUG: string =
  process.platform === 'linux'
    ? 'IP_MINTTL or IPV6_MINHOPCOUNT has no effect here, so no socket can be unplugged: this system only emulates Linux, as gVisor and qemu-user do.'
    : `${process.platform} has no option that unplugs a socket.`
