import type { Socket } from 'node:net'
import { refuseMore } from './errors.js'
import { read } from './options/read.js'
import { userTimeoutSettings } from './options/settings.js'
import { USER_TIMEOUT } from './options/socket-options.js'
import { apply, type Target } from './targets/apply.js'

/**
 * Sets for how many **milliseconds** sent data may stay unacknowledged before the
 * kernel gives the peer up: TCP_USER_TIMEOUT, 0 to 2147483647. 0 gives the kernel's
 * default back (about 15 minutes, by net.ipv4.tcp_retries2).
 *
 * The kernel's rule and nothing else:
 * - with data in flight the peer is an `'error'` after `ms`, plus two round trips and
 *   the first retransmission timeout;
 * - while connecting it bounds the connect;
 * - with keepalive on it replaces `count`: an idle peer is given up at the first
 *   probe at which its silence has reached `ms`;
 * - **a live peer that does not read for `ms` is given up too** (since Linux 5.11),
 *   although it answers. `setDeadPeerTimeout` keeps such a peer.
 *
 * Side effects: the socket is watched, so that its error arrives although nobody reads.
 * 1 to 999 is set and warned about once (process warning TCP_KEEPALIVE_UNIT): mostly
 * seconds were meant.
 *
 * @param target A socket, connected or not; a server; an http(s) agent; an http2 session.
 * @param ms A whole number of milliseconds, 0 to 2147483647; a new socket has 0.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (too many arguments):
 * nothing was set.
 * @throws {RangeError} ERR_OUT_OF_RANGE: nothing was set.
 * @throws {Error} ERR_SOCKET_CLOSED, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} The kernel refused; ENOTSUP for a Unix-domain socket,
 * ENOPROTOOPT for MPTCP. Where
 * the settings have to wait for a descriptor it is not thrown: the socket is destroyed with
 * it, a server's is its `'error'`, an agent's the request's.
 * @platform Linux; macOS (TCP_RXT_CONNDROPTIME) and FreeBSD 14 (TCP_MAXUNACKTIME), where
 * the unit is seconds and `ms` is rounded up; Windows (TCP_MAXRTMS, before it TCP_MAXRT in
 * seconds). On Windows, Bun and Deno it does not bound the connect.
 * @see tcp(7); RFC 5482; RFC 9293 section 3.8.3; net/ipv4/tcp_timer.c, tcp_write_timeout
 *
 * @example
 * setUserTimeout(socket, 90_000) // milliseconds
 * getUserTimeout(socket) // => 90000
 */
export function setUserTimeout(target: Target, ms: number): void {
  if (arguments.length > 2) {
    const instead = 'setUserTimeout(socket, 90_000), which takes milliseconds'
    refuseMore('setUserTimeout(target, ms)', 2, arguments, instead)
  }
  apply(target, userTimeoutSettings(ms))
}

/**
 * Reads from the kernel the user timeout of a socket in **milliseconds**
 * (TCP_USER_TIMEOUT); 0 is the kernel's default.
 *
 * @param socket A net.Socket or tls.TLSSocket that has a descriptor.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a net.Socket.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED until there is a descriptor, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} The kernel refused; ENOTSUP for a Unix-domain socket.
 * @platform As `setUserTimeout`.
 * @see tcp(7)
 *
 * @example
 * getUserTimeout(socket) // => 0
 */
export function getUserTimeout(socket: Socket): number {
  return read(socket, 1 << USER_TIMEOUT)[USER_TIMEOUT] as number
}
