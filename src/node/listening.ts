/** Listeners, and the connections that they accept. */
import type { Server, Socket } from 'node:net'
import type { TcpHandle } from './internals.js'
import { define, nodeInternals, socketOf } from './internals.js'

/**
 * Calls `callback` when the server's `listen` has created a handle of any kind, before a
 * connection can be accepted and before `'listening'` is emitted.
 */
export function onListened(server: Server, callback: () => void): void {
  // Node calls this method for each listen, in all versions.
  const listen = (server as unknown as { _listen2(...args: unknown[]): void })._listen2
  define(server, '_listen2', function _listen2(this: Server, ...args: unknown[]): void {
    Reflect.apply(listen, this, args)
    callback()
  })
}

/** A listening server's handle; in a cluster worker it may not be a TCP handle. */
export function listenerOf(server: Server): TcpHandle | null {
  return (server as unknown as { _handle?: TcpHandle | null })._handle ?? null
}

/** Whether a listener's handle is Node's own for TCP. */
export function isTcpHandle(handle: object): boolean {
  return Object.getPrototypeOf(handle) === nodeInternals()?.prototype
}

/**
 * Calls `accepting` with each accepted handle before Node creates a socket for it (and before
 * Node writes its own `keepAlive` option), and `accepted` afterwards, with the socket and with what
 * `accepting` returned.
 */
export function onAccepting(
  listener: TcpHandle,
  accepting: (client: TcpHandle) => unknown,
  accepted: (client: TcpHandle, socket: Socket, answer: unknown) => void,
): void {
  const original = listener.onconnection
  define(
    listener,
    'onconnection',
    function onconnection(this: TcpHandle, error: number, client?: TcpHandle): void {
      if (client === undefined) {
        Reflect.apply(original, this, [error, client])
        return
      }
      const answer = accepting(client)
      try {
        Reflect.apply(original, this, [error, client])
      } finally {
        const socket = socketOf(client)
        if (socket !== undefined) accepted(client, socket, answer)
      }
    },
  )
}
