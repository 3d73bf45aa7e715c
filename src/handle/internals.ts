/** How Node names what it hides: the prototype of its TCP handles, and whose a handle is. */
import { Socket } from 'node:net'
import { property } from '../errors.js'
import { IS_NODE } from './descriptor.js'
import type { TcpHandle } from './types.js'

/** The handle's own properties of this library are not enumerable: they are nobody's business. */
export function define(object: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(object, key, property({ value, writable: true, configurable: true }))
}

interface Internals {
  /** Node's TCP handles, and nothing else, have this prototype. */
  readonly prototype: TcpHandle
  /** Under this key a handle names its socket or server. */
  readonly owner: symbol
}

let internals: Internals | null | undefined

/** Undefined in a runtime whose sockets are not made like Node's. */
export function nodeInternals(): Internals | null {
  if (internals === undefined) internals = discover()
  return internals
}

/** A socket that is about to look up a name has its handle already, and never gets further. */
function discover(): Internals | null {
  if (!IS_NODE) return null
  const throwaway = new Socket()
  throwaway.on('error', () => {})
  throwaway.connect({ port: 1, host: 'tcp-keepalive.invalid', lookup() {} })
  const handle = rawHandle(throwaway)
  // destroy() would open process.stderr, which a program may never want.
  Object.assign(throwaway, { _handle: null })
  handle?.close()
  if (handle === null || handle === undefined || handle.constructor?.name !== 'TCP') return null
  const owner = Object.getOwnPropertySymbols(handle).find(
    (key) => key.description === 'owner_symbol',
  )
  return owner === undefined
    ? null
    : { prototype: Object.getPrototypeOf(handle) as TcpHandle, owner }
}

export type AnyHandle = TcpHandle & { _parent?: AnyHandle }

export function rawHandle(socket: Socket): AnyHandle | null | undefined {
  return (socket as unknown as { _handle?: AnyHandle | null })._handle
}

/** The TLSSocket over a handle that was made for another address of the same connect. */
export const reinitialized: WeakMap<TcpHandle, Socket> = new WeakMap()

/** Whose a handle is: a socket's, a server's. */
export function ownerOf(handle: TcpHandle): unknown {
  const key = nodeInternals()?.owner
  if (key === undefined) return undefined
  return (handle as unknown as Record<symbol, unknown>)[key] ?? reinitialized.get(handle)
}

export function socketOf(handle: TcpHandle): Socket | undefined {
  const owner = ownerOf(handle)
  return owner instanceof Socket ? owner : undefined
}
