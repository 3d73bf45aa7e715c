import type { Socket } from 'node:net'
import { refuseMore } from './errors.js'
import { read } from './options/read.js'
import { type KeepaliveOptions, keepaliveSettings } from './options/settings.js'
import { COUNT, IDLE, INTERVAL, KEEPALIVE } from './options/socket-options.js'
import { callForPositions, callOfSetter } from './options/units.js'
import { apply, type Target } from './targets/apply.js'

/**
 * Turns TCP keepalive on, off, or sets when an idle peer is given up.
 *
 * `{ idle, interval, count }` turns it on (SO_KEEPALIVE) and sets TCP_KEEPIDLE,
 * TCP_KEEPINTVL (seconds) and TCP_KEEPCNT (probes); an absent field is left as it
 * is. `true` turns it on with what is there, `false` off. A silent peer of an idle
 * connection is then an `'error'` after about `idle + interval × count` seconds.
 *
 * Keepalive looks at idle connections only: with data in flight it says nothing,
 * and the kernel retransmits for about 15 minutes. `setUserTimeout` bounds that.
 *
 * Side effects: later `socket.setKeepAlive(true, …)` calls (Node's agents, drivers)
 * change nothing any more; `setKeepAlive(false)` is obeyed and ends that. The socket
 * is watched, so that its error arrives although nobody reads.
 *
 * The unit is seconds. Milliseconds by mistake are refused: an `interval` of 1000 or more,
 * an `idle` of 10,000 or more in whole thousands, and Node's positional form. An `idle` of
 * 1000 to 9000 in whole thousands is set and warned about once (process warning
 * TCP_KEEPALIVE_UNIT).
 *
 * @param target A socket, connected or not; a server; an http(s) agent; an http2 session.
 * @param options What is to be set; on a new socket the kernel has keepalive off, idle
 * 7200, interval 75, count 9, unless the host was configured.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (an unknown field, too
 * many arguments): nothing was set.
 * @throws {RangeError} ERR_OUT_OF_RANGE: nothing was set.
 * @throws {Error} ERR_SOCKET_CLOSED, ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} The kernel refused; ENOTSUP for a Unix-domain socket. Where
 * the settings have to wait for a descriptor it is not thrown: the socket is destroyed with
 * it, a server's is its `'error'`, an agent's the request's.
 * @platform Linux, macOS, FreeBSD, Windows 10 1709; Node, Bun, Deno.
 * @see tcp(7), socket(7); RFC 9293 section 3.8.4; net/ipv4/tcp_timer.c, tcp_keepalive_timer
 *
 * @example
 * setKeepalive(socket, { idle: 60, interval: 10, count: 3 }) // seconds, seconds, probes
 * setKeepalive(socket, { interval: 20 }) // the others stay as they are
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

/** What the kernel has for a socket. */
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
 * Reads from the kernel, never from a cache, what keepalive a socket has: SO_KEEPALIVE,
 * TCP_KEEPIDLE, TCP_KEEPINTVL (seconds) and TCP_KEEPCNT (probes).
 *
 * @param socket A net.Socket or tls.TLSSocket that has a descriptor.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a net.Socket.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED until there is a descriptor, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} The kernel refused; ENOTSUP for a Unix-domain socket.
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
