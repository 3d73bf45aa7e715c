/** The beginning and the end of each connect. */
import { Socket } from 'node:net'
import { property } from '../errors.js'
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

const kValue = Symbol('tcp-keepalive.oncomplete')
const kCallbacks = Symbol('tcp-keepalive.ending')

type Attempt = ConnectRequest & { [kValue]?: unknown; [kCallbacks]?: (() => void)[] }

/**
 * Runs when a connect has come to its end, before `'connect'` or `'error'` is
 * emitted. Node fetches `oncomplete` at that moment: an accessor sees it without
 * being in anybody's stack.
 */
export function whenConnectEnds(request: ConnectRequest, callback: () => void): void {
  const attempt = request as Attempt
  if (!requestsHooked) hookRequests(attempt)
  attempt[kCallbacks] ??= []
  attempt[kCallbacks].push(callback)
}

let requestsHooked = false

/**
 * Once for all requests, on their prototype: to exchange a property of each for an
 * accessor takes V8 eight microseconds a connection. Where another copy of this package
 * has done the same, each asks the next.
 */
function hookRequests(first: Attempt): void {
  requestsHooked = true
  const prototype = Object.getPrototypeOf(first) as object
  const own = Object.getOwnPropertyDescriptor(first, 'oncomplete')
  const below = Object.getOwnPropertyDescriptor(prototype, 'oncomplete')
  const accessor: PropertyDescriptor & ThisType<Attempt> = {
    configurable: true,
    enumerable: true,
    get(this: Attempt) {
      const value = below === undefined ? this[kValue] : below.get?.call(this)
      // A stack names a method by the property that it is found in.
      if (below === undefined) {
        const plain = { value, writable: true, enumerable: true, configurable: true }
        Object.defineProperty(this, 'oncomplete', property(plain))
      }
      for (const ended of this[kCallbacks] ?? []) ended()
      return value
    },
    set(this: Attempt, value: unknown) {
      if (below === undefined) this[kValue] = value
      else below.set?.call(this, value)
    },
  }
  Object.defineProperty(prototype, 'oncomplete', property(accessor))
  // This one was made before.
  if (own === undefined) return
  delete first.oncomplete
  first.oncomplete = own.value
}
