import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { unavailable } from './errors.js'
import { loadAdvice } from './load-advice.js'

/** The compiled binding: integers in, an integer out; a negative one is a refusal. */
interface Binding {
  readonly integers: ArrayBuffer
  readonly fields: ArrayBuffer
  /** Sets option n to `integers[n]`; a negative value leaves it as it is. Returns 0 or a refusal (`decodeRefusal`). */
  set(descriptor: number): number
  /** Bit n of `options` asks for option n, which goes to `integers[n]`. Returns 0 or a refusal (`decodeRefusal`). */
  get(descriptor: number, options: number): number
  /** Takes the pending error (positive, 0 for none); the kernel then forgets it. */
  takeError(descriptor: number): number
  /**
   * Each of `count` connections has `OUTSTANDING_FIELDS` numbers, the first a descriptor. They are
   * replaced by `Outstanding` of native/sockopt.h, in its order.
   */
  sweep(connections: ArrayBuffer, count: number): number
  /** The peer's port; its address goes to `integers` as bytes ending with a zero. */
  peerAddress(descriptor: number): number
  /** TCP_INFO into `fields`; returns the bytes that the kernel wrote. */
  tcpInfo(descriptor: number): number
  /** 1 makes the peer go silent for this one socket, 0 plugs it in again. */
  unplug(descriptor: number, unplugged: number): number
  /** The sum of what is there of `CAPABILITY`; negative where that could not be found out. */
  capabilities(): number
  /** The bytes that have arrived and were not read. */
  unread(descriptor: number): number
  /**
   * Opens this environment's watcher. `notify` gets the descriptor and the ticket of each watched
   * connection that has ended, and -1 when the timer has expired.
   */
  open(notify: (descriptor: number, ticket: number) => void): number
  /** Closes it again. */
  shut(): number
  /** Watches a descriptor for the end of its connection, under a ticket. */
  watch(descriptor: number, ticket: number): number
  /** Sets the watcher's one timer, which replaces what was set before. */
  setTimer(ms: number): number
  /** Milliseconds of a clock that never goes back, and that no test can replace. */
  now(): number
  /** On Linux: a descriptor for a process, which `takeDescriptor` takes; close both. */
  openProcess?(pid: number): number
  /** On Linux: a descriptor of our own for what a descriptor of that process stands for. */
  takeDescriptor?(process: number, descriptor: number): number
  /** On Linux: as `peerAddress`, of this end. */
  localAddress?(descriptor: number): number
  /** On Linux: the bytes that were written and that the peer has not acknowledged. */
  unacknowledged?(descriptor: number): number
  /** Everywhere but on Windows. */
  close?(descriptor: number): number
  /** On Windows: the descriptor of the socket with these addresses, `''` and 0 for a listener's remote one. */
  findSocket?(
    localAddress: string,
    localPort: number,
    remoteAddress: string,
    remotePort: number,
  ): number
}

/** The binding, with views of the memory that it shares with this environment. */
export interface Native extends Omit<Binding, 'integers' | 'fields'> {
  readonly integers: Int32Array
  readonly bytes: Uint8Array
  readonly fields: Float64Array
  /** As Node has loaded it: one object per file, whichever copies of this package load it. */
  readonly binding: Binding
}

let loaded: Native | undefined
let failure: Error | undefined

/** Loads the binding at its first use, so that importing never fails. */
export function native(): Native {
  return loaded ?? load()
}

function load(): Native {
  // A search of the file system for each connection would find nothing new.
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

/** Without a free descriptor the binary only seems to be absent. */
function noFileOpens(): boolean {
  try {
    readdirSync('/')
    return false
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EMFILE' || code === 'ENFILE'
  }
}

/** Where ReadTcpInfo of native/sockopt_linux.cc puts what is used inside. */
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

/** What a refusal of `set` or `get` means: the option's index and the (negative) errno. */
export function decodeRefusal(result: number): { option: number; errno: number } {
  return { option: -result >> 16, errno: -(-result & 0xffff) }
}

/** `Capability` of native/sockopt.h. */
export const CAPABILITY = { tcpInfo: 1, unplug: 2 } as const

let capabilities: number | undefined

/**
 * Whether the system really has it. Found out once; while no socket can be had for that, and where no
 * binary loads (a plan needs none), it is taken for granted on Linux.
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
    ? 'IP_MINTTL or IPV6_MINHOPCOUNT has no effect here, so no socket can be unplugged: this only looks like Linux, as gVisor and qemu-user do.'
    : `${process.platform} has nothing to unplug one socket with.`
