/** The beginning of each connect; `awaitConnect` of connection.ts tells of its end. */
import type { Socket } from 'node:net'
import { define, nodeInternals, socketOf } from './internals.js'
import { hookTls } from './tls.js'
import type { ConnectRequest, TcpHandle } from './types.js'

/** Hears of each connect of this environment, right after the kernel has begun it. */
export type ConnectListener = (handle: TcpHandle, socket: Socket, request: ConnectRequest) => void

/** To be called once. Adds no listener to a socket and no frame to a user's stack. */
export function onConnecting(listener: ConnectListener): void {
  const prototype = nodeInternals()?.prototype
  if (prototype === undefined) return
  for (const method of ['connect', 'connect6'] as const) {
    const original = prototype[method]
    define(
      prototype,
      method,
      function connect(this: TcpHandle, ...args: [ConnectRequest, ...unknown[]]): number {
        // Before the handle for a next address is made, should this one fail at once.
        hookTls()
        const result = original.apply(this, args)
        const socket = result === 0 ? socketOf(this) : undefined
        if (socket !== undefined) listener(this, socket, args[0])
        return result
      },
    )
  }
}
