/** TLS sockets, which are laid over a TCP handle. */
import type { Socket } from 'node:net'
import { connectionOf, tellNodeCache } from './connection.js'
import { nodeInternals, reinitialized } from './internals.js'
import type { TcpHandle } from './types.js'

let tlsHooked = false

/**
 * Sees each TLS socket that is laid over a TCP handle: it is then the one whose
 * error the user waits for.
 */
export function hookTls(): void {
  if (tlsHooked || nodeInternals() === null) return
  tlsHooked = true
  const { TLSSocket } = require('node:tls') as typeof import('node:tls')
  const prototype = TLSSocket.prototype as unknown as {
    _wrapHandle?: (wrap: unknown, handle: TcpHandle | undefined, ...rest: unknown[]) => unknown
  }
  const wrapHandle = prototype._wrapHandle
  if (wrapHandle === undefined) return
  prototype._wrapHandle = function _wrapHandle(this: Socket, wrap, handle, ...rest) {
    if (handle !== undefined && handle !== null) {
      const connection = connectionOf(handle)
      if (connection !== undefined) {
        connection.socket = this
        // The constructor is still running and would reset a cache that is told now.
        if (connection.held) {
          process.nextTick(() => {
            if (connection.held) tellNodeCache(handle, this, true)
          })
        }
      } else if (wrap === null) reinitialized.set(handle, this)
    }
    return Reflect.apply(wrapHandle, this, [wrap, handle, ...rest])
  }
}
