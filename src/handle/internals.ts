/** How Node names what it hides: the prototype of its TCP handles, and whose a handle is. */
import { Socket } from 'node:net'
import { property } from '../errors.js'
import { IS_NODE } from './descriptor.js'
import type { TcpHandle } from './types.js'

/** What this library puts on objects of Node's is not enumerable: it is no program's business. */
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

/** Null in a runtime whose sockets are not made like Node's. */
export function nodeInternals(): Internals | null {
  if (internals === undefined) internals = discover()
  return internals
}

/** From a handle that is bound, as node:cluster makes them, and never listens or connects. */
function discover(): Internals | null {
  if (!IS_NODE) return null
  const handle = boundHandle('0.0.0.0', 4) ?? boundHandle('::', 6)
  if (handle?.constructor?.name !== 'TCP') return null
  const options: object = { handle, manualStart: true }
  const throwaway = new Socket(options)
  const owner = Object.getOwnPropertySymbols(handle).find(
    (key) => key.description === 'owner_symbol',
  )
  // destroy() would open process.stderr, which a program may never want.
  Object.assign(throwaway, { _handle: null })
  handle.close()
  return owner === undefined
    ? null
    : { prototype: Object.getPrototypeOf(handle) as TcpHandle, owner }
}

function boundHandle(address: string, family: 4 | 6): TcpHandle | undefined {
  const { _createServerHandle: create } = require('node:net') as {
    _createServerHandle?(address: string, port: number, family: number): TcpHandle | number
  }
  const handle = create?.(address, 0, family)
  return typeof handle === 'object' ? handle : undefined
}

export type AnyHandle = TcpHandle & { _parent?: AnyHandle }

export function rawHandle(socket: Socket): AnyHandle | null | undefined {
  return (socket as unknown as { _handle?: AnyHandle | null })._handle
}

/** The socket of a handle, under TLS over another socket that one. */
export function socketOf(handle: TcpHandle): Socket | undefined {
  const key = nodeInternals()?.owner
  const owner = key === undefined ? undefined : (handle as never as Record<symbol, unknown>)[key]
  return owner instanceof Socket ? owner : undefined
}
