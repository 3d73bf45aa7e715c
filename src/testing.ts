/**
 * Tools for testing your own reconnect code: `import { unplug } from 'tcp-keepalive/testing'`.
 * @module
 */
import type { Socket } from 'node:net'
import { systemError, unavailable } from './errors.js'
import { NO_UNPLUG, native } from './native.js'
import { handleOf } from './node/handle.js'
import { descriptorOf } from './options/read.js'

/** Restores the connection. Also a `Symbol.dispose`, for `using`. */
export interface PlugIn {
  (): void
  [Symbol.dispose](): void
}

/**
 * Pulls the cable of one socket: from now on the kernel drops every segment that arrives for
 * it, so its peer seems silent. Segments that the socket sends still leave. Needs no privileges.
 * Works on IPv4, IPv6 and v4-mapped connections, on loopback and with a real server (if the TTL
 * of arriving packets is below 255, which is always true except on the same link with GTSM).
 *
 * Side effects: sets IP_MINTTL (ip(7)) and IPV6_MINHOPCOUNT (ipv6(7)) to 255; the returned
 * function sets them to 0.
 *
 * @param socket A connected net.Socket or tls.TLSSocket.
 * @returns A function that plugs it in again. It does nothing if the connection has closed.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a net.Socket.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM if the options do not exist or have no effect (they are
 * read back), or a system error if the kernel refuses them.
 * @platform Linux, but not gVisor and not qemu-user; FreeBSD, IPv4 only.
 * @see ip(7), ipv6(7); net/ipv4/tcp_ipv4.c, tcp_v4_rcv, at min_ttl
 *
 * @example
 * setUserTimeout(socket, 1000)
 * unplug(socket)
 * socket.write('never acknowledged')
 * const [error] = await once(socket, 'error')
 * error.code // => 'ETIMEDOUT'
 */
export function unplug(socket: Socket): PlugIn {
  pull(descriptorOf(socket, 'SO_KEEPALIVE'), 1)
  const handle = handleOf(socket)
  const plugIn = (): void => {
    // A later connection of the same socket was never unplugged.
    if (socket.destroyed || handleOf(socket) !== handle) return
    pull(descriptorOf(socket, 'SO_KEEPALIVE'), 0)
  }
  return Object.assign(plugIn, { [Symbol.dispose]: plugIn })
}

/** The errors of a system that does not know the option, and of the binding if it has no effect. */
const MISSING = ['ENOSYS', 'ENOPROTOOPT']

function pull(descriptor: number, unplugged: 0 | 1): void {
  const result = native().unplug(descriptor, unplugged)
  if (result >= 0) return
  // IPv6 has two options, and the first may already be set.
  native().unplug(descriptor, 0)
  const error = systemError(result, 'setsockopt')
  throw MISSING.includes(error.code ?? '') ? unavailable(NO_UNPLUG) : error
}
