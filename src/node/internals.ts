/** How Node names what it hides: the prototype of its TCP handles, and whose a handle is. */
import { Socket } from 'node:net'
import { property } from '../errors.js'
import { IS_NODE } from './descriptor.js'

/** What this library uses of Node's TCP handle (`TCP` of tcp_wrap.cc). */
export interface TcpHandle {
  readonly fd: number
  readonly bytesRead: number
  /** Whether the socket over it wants to read. */
  readonly reading: boolean
  setKeepAlive(enable: boolean, ...delays: number[]): number
  close(callback?: () => void): void
  onconnection: (this: TcpHandle, error: number, client?: TcpHandle) => void
}

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

/** From a socket that is about to connect, and is destroyed before it does. */
function discover(): Internals | null {
  if (!IS_NODE) return null
  const throwaway = new Socket()
  throwaway.on('error', () => {})
  // To an address: a name would be looked up.
  throwaway.connect({ port: 1, host: '127.0.0.1' })
  const handle = rawHandle(throwaway)
  if (handle?.constructor?.name !== 'TCP') return null
  const owner = Object.getOwnPropertySymbols(handle).find(
    (key) => key.description === 'owner_symbol',
  )
  // Node's own would open process.stderr, which a program may never want.
  const _destroy = (error: Error | null, done: (error: Error | null) => void): void => {
    Object.assign(throwaway, { connecting: false })
    handle.close()
    done(error)
  }
  Object.assign(throwaway, { _destroy }).destroy()
  return owner === undefined
    ? null
    : { prototype: Object.getPrototypeOf(handle) as TcpHandle, owner }
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
