/** Node's internals: the prototype of its TCP handles, and the owner of a handle. */
import { Socket } from 'node:net'
import { property } from '../errors.js'
import { IS_NODE } from './descriptor.js'

/** What this library uses of Node's TCP handle (`TCP` of tcp_wrap.cc). */
export interface TcpHandle {
  readonly fd: number
  readonly bytesRead: number
  /** Whether the socket is being read. */
  readonly reading: boolean
  setKeepAlive(enable: boolean, ...delays: number[]): number
  close(callback?: () => void): void
  onconnection: (this: TcpHandle, error: number, client?: TcpHandle) => void
}

/** Properties that this library adds to Node's objects are not enumerable, so that programs do not see them. */
export function define(object: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(object, key, property({ value, writable: true, configurable: true }))
}

interface Internals {
  /** Node's TCP handles, and nothing else, have this prototype. */
  readonly prototype: TcpHandle
  /** The key under which a handle refers to its socket or server. */
  readonly owner: symbol
}

let internals: Internals | null | undefined

/** Null in a runtime whose sockets differ from Node's. */
export function nodeInternals(): Internals | null {
  if (internals === undefined) {
    // A program that sets each socket in its own Socket.prototype.connect comes back here.
    internals = null
    try {
      internals = discover()
    } catch (error) {
      internals = undefined
      throw error
    }
  }
  return internals
}

/** Reads them from a socket that is destroyed before it connects. */
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
  // Node's own `_destroy` would open process.stderr, which has side effects.
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

/** The socket of a handle; for TLS over another socket, that other socket. */
export function socketOf(handle: TcpHandle): Socket | undefined {
  const key = nodeInternals()?.owner
  const owner = key === undefined ? undefined : (handle as never as Record<symbol, unknown>)[key]
  return owner instanceof Socket ? owner : undefined
}
