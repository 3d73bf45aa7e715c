import type { Socket } from 'node:net'
import { refuseMore } from './errors.js'
import { read } from './options/read.js'
import { userTimeoutSettings } from './options/settings.js'
import { USER_TIMEOUT } from './options/socket-options.js'
import { apply, type Target } from './targets/apply.js'

/**
 * Sets for how many **milliseconds** sent data may stay unacknowledged before the kernel times
 * out the connection: TCP_USER_TIMEOUT, 0 to 2147483647. 0 restores the kernel's default (about
 * 15 minutes, by net.ipv4.tcp_retries2; on Windows what a new socket has).
 *
 * The rules are the kernel's:
 * - with data in flight, a silent peer becomes an `'error'` after `ms`, plus two round trips
 *   and the first retransmission timeout;
 * - while connecting, it bounds the connect;
 * - with keepalive on, it replaces `count`: an idle connection is timed out at the first
 *   probe at which the peer has been silent for `ms`;
 * - **a live peer that does not read for `ms` is timed out, too** (since Linux 5.11),
 *   although it answers. `setDeadPeerTimeout` does not disconnect such a peer.
 *
 * Side effects: the socket is watched, so that its error is reported even if the socket is not
 * being read. A value of 1 to 999 is set, but causes one process warning (TCP_KEEPALIVE_UNIT),
 * because most likely seconds were meant.
 *
 * @param target A socket, connected or not; a server; an http(s) agent; an http2 session.
 * @param ms A whole number of milliseconds, 0 to 2147483647; a new socket has 0.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (too many arguments):
 * nothing was set.
 * @throws {RangeError} ERR_OUT_OF_RANGE: nothing was set.
 * @throws {Error} ERR_SOCKET_CLOSED, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} setsockopt failed; ENOTSUP for a Unix-domain socket, ENOPROTOOPT for
 * MPTCP. It is not thrown if the settings must wait for a descriptor: then the socket is destroyed
 * with it, a server emits it as `'error'`, and the requests of an agent fail with it.
 * @platform Linux; macOS (TCP_RXT_CONNDROPTIME, and TCP_CONNECTIONTIMEOUT for the connect) and
 * FreeBSD 14 (TCP_MAXUNACKTIME, and TCP_KEEPINIT for the connect), where the unit is seconds and
 * `ms` is rounded up; Windows (TCP_MAXRTMS; older versions TCP_MAXRT, in seconds). On Windows, Bun
 * and Deno it does not bound the connect.
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
 * Reads a socket's user timeout in **milliseconds** from the kernel (TCP_USER_TIMEOUT); 0 is the
 * kernel's default. On Windows 2147483647 also means that another program has disabled it.
 * Side effects: none.
 *
 * @param socket A net.Socket or tls.TLSSocket that has a descriptor.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a net.Socket.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED until there is a descriptor, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} getsockopt failed; ENOTSUP for a Unix-domain socket.
 * @platform As `setUserTimeout`.
 * @see tcp(7)
 *
 * @example
 * getUserTimeout(socket) // => 0
 */
export function getUserTimeout(socket: Socket): number {
  return read(socket, 1 << USER_TIMEOUT)[USER_TIMEOUT] as number
}
