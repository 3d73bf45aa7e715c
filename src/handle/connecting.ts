/** The beginning and the end of each connect. */
import { Socket } from 'node:net'
import { define, nodeInternals, ownerOf } from './internals.js'
import type { ConnectRequest, TcpHandle } from './types.js'

/** Hears of each connect of this environment, right after the kernel has begun it. */
export type ConnectListener = (handle: TcpHandle, socket: Socket, request: ConnectRequest) => void

const connectListeners: ConnectListener[] = []

/** Adds no listener to a socket and no frame to a user's stack. */
export function onConnecting(listener: ConnectListener): void {
  connectListeners.push(listener)
  if (connectListeners.length > 1) return
  const prototype = nodeInternals()?.prototype
  if (prototype === undefined) return
  for (const method of ['connect', 'connect6'] as const) {
    const original = prototype[method]
    define(
      prototype,
      method,
      function connect(this: TcpHandle, ...args: [ConnectRequest, ...unknown[]]): number {
        const result = original.apply(this, args)
        if (result === 0) begun(this, args[0])
        return result
      },
    )
  }
}

function begun(handle: TcpHandle, request: ConnectRequest): void {
  const socket = ownerOf(handle)
  if (!(socket instanceof Socket)) return
  for (const listener of connectListeners) listener(handle, socket, request)
}

const kEnding = Symbol('tcp-keepalive.ending')

const PLAIN = { writable: true, enumerable: true, configurable: true }

/** Who waits for the end of a connect, and what `oncomplete` was before. */
interface Ending {
  value: unknown
  /** Somebody else's accessor. */
  readonly accessor: PropertyDescriptor | undefined
  readonly callbacks: (() => void)[]
}

type Attempt = ConnectRequest & { [kEnding]?: Ending }

/**
 * One for all requests: V8 allocates accessors where only a major collection looks, and
 * closures of each request would keep its socket, and all that hangs on it, until then.
 */
const ENDING: PropertyDescriptor & ThisType<Attempt> = {
  configurable: true,
  enumerable: true,
  get() {
    const { value, accessor, callbacks } = this[kEnding] as Ending
    const oncomplete = accessor === undefined ? value : accessor.get?.call(this)
    // A stack names a method by the property that it is found in.
    if (accessor === undefined) Object.defineProperty(this, 'oncomplete', { ...PLAIN, value })
    for (const callback of callbacks) callback()
    return oncomplete
  },
  set(value: unknown) {
    const ending = this[kEnding] as Ending
    if (ending.accessor?.set === undefined) ending.value = value
    else ending.accessor.set.call(this, value)
  },
}

/**
 * Runs when a connect has come to its end, before `'connect'` or `'error'` is
 * emitted. Node fetches `oncomplete` at that moment: an accessor sees it without
 * being in anybody's stack.
 */
export function whenConnectEnds(request: ConnectRequest, callback: () => void): void {
  const ending = (request as Attempt)[kEnding]
  if (ending !== undefined) {
    ending.callbacks.push(callback)
    return
  }
  // Reading the property itself would be the end of the connect for an accessor that is there already.
  const present = Object.getOwnPropertyDescriptor(request, 'oncomplete')
  const accessor = present?.get === undefined ? undefined : present
  define(request, kEnding, { value: present?.value, accessor, callbacks: [callback] })
  Object.defineProperty(request, 'oncomplete', ENDING)
}
