import type { Socket } from 'node:net'
import { refuseMore } from './errors.js'
import { read } from './options/read.js'
import { type KeepaliveOptions, keepaliveSettings } from './options/settings.js'
import { COUNT, IDLE, INTERVAL, KEEPALIVE } from './options/socket-options.js'
import { callForPositions, callOfSetter } from './options/units.js'
import { apply, type Target } from './targets/apply.js'

/**
 * Turns TCP keepalive on or off, and sets when the kernel times out an idle connection.
 *
 * `{ idle, interval, count }` turns keepalive on (SO_KEEPALIVE) and sets TCP_KEEPIDLE,
 * TCP_KEEPINTVL (seconds) and TCP_KEEPCNT (probes). Omitted fields are unchanged. `true` turns
 * it on and `false` off, both without other changes. With keepalive on, a silent peer of an idle
 * connection becomes an `'error'` after about `idle + interval × count` seconds.
 *
 * Keepalive applies to idle connections only. With data in flight no probes are sent, and the
 * kernel retransmits for about 15 minutes. `setUserTimeout` bounds that.
 *
 * Side effects: later `socket.setKeepAlive(true, …)` calls (by Node's agents, by drivers) are
 * ignored; `setKeepAlive(false)` still turns keepalive off, and then later calls take effect again.
 * The socket is watched, so that its error is reported even if the socket is not being read.
 *
 * The unit is seconds. Values that most likely are milliseconds are rejected: an `interval` of
 * 1000 or more, an `idle` of 10,000 or more in whole thousands, and Node's positional form. An
 * `idle` of 1000 to 9000 in whole thousands is set, but causes one process warning
 * (TCP_KEEPALIVE_UNIT).
 *
 * @param target A socket, connected or not; a server; an http(s) agent; an http2 session.
 * @param options What to set. A new socket has keepalive off, idle 7200, interval 75 and count 9,
 * unless the host was configured otherwise.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (an unknown field, too
 * many arguments): nothing was set.
 * @throws {RangeError} ERR_OUT_OF_RANGE: nothing was set.
 * @throws {Error} ERR_SOCKET_CLOSED, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} setsockopt failed; ENOTSUP for a Unix-domain socket. It is not thrown
 * if the settings must wait for a descriptor: then the socket is destroyed with it, a server emits
 * it as `'error'`, and the requests of an agent fail with it.
 * @platform Linux, macOS, FreeBSD, Windows 10 1709; Node, Bun, Deno.
 * @see tcp(7), socket(7); RFC 9293 section 3.8.4; net/ipv4/tcp_timer.c, tcp_keepalive_timer
 *
 * @example
 * setKeepalive(socket, { idle: 60, interval: 10, count: 3 }) // seconds, seconds, probes
 * setKeepalive(socket, { interval: 20 }) // the others are unchanged
 * getKeepalive(socket) // => { enabled: true, idle: 60, interval: 20, count: 3 }
 */
export function setKeepalive(target: Target, options: KeepaliveOptions | boolean): void {
  if (arguments.length > 2) refusePositions(arguments)
  apply(target, keepaliveSettings(options))
}

function refusePositions(all: IArguments): void {
  const [, ...positions] = all
  const instead = `${callForPositions(positions, callOfSetter)}: seconds, seconds and probes`
  refuseMore('setKeepalive(target, options)', 2, all, instead)
}

/** A socket's keepalive options, as the kernel returns them. */
export interface KeepaliveSettings {
  /** SO_KEEPALIVE. */
  enabled: boolean
  /** TCP_KEEPIDLE, seconds. */
  idle: number
  /** TCP_KEEPINTVL, seconds. */
  interval: number
  /** TCP_KEEPCNT, probes. */
  count: number
}

const ALL = (1 << IDLE) | (1 << INTERVAL) | (1 << COUNT) | (1 << KEEPALIVE)

/**
 * Reads a socket's keepalive options from the kernel, never from a cache: SO_KEEPALIVE,
 * TCP_KEEPIDLE and TCP_KEEPINTVL (seconds), and TCP_KEEPCNT (probes).
 *
 * Side effects: none.
 *
 * @param socket A net.Socket or tls.TLSSocket that has a descriptor.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a net.Socket.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED until there is a descriptor, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} getsockopt failed; ENOTSUP for a Unix-domain socket.
 * @platform Linux, macOS, FreeBSD, Windows 10 1709; Node, Bun, Deno.
 * @see tcp(7), socket(7)
 *
 * @example
 * getKeepalive(socket).enabled // => false
 * setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
 * getKeepalive(socket) // => { enabled: true, idle: 60, interval: 10, count: 3 }
 */
export function getKeepalive(socket: Socket): KeepaliveSettings {
  const integers = read(socket, ALL)
  return {
    enabled: integers[KEEPALIVE] !== 0,
    idle: integers[IDLE] as number,
    interval: integers[INTERVAL] as number,
    count: integers[COUNT] as number,
  }
}
