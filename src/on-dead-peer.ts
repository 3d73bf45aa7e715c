import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { DEAD_PEER_CHANNEL, type DeadPeerMessage } from './connection/dead-peer-channel.js'
import { invalidType, refuseMore } from './errors.js'

/**
 * Calls `listener` once for each connection that ends because its peer is dead, if this library
 * has set it: by a setter, `installDefaults` or `tcp-keepalive/register`.
 * Useful for logs and metrics, because it includes the connections of drivers that hide their
 * sockets.
 *
 * The listener runs as the connection closes, before the socket's `'error'`, even if Node found
 * the error itself or a connect failed. Resets, refused connects and connections that
 * this library has not set are not reported.
 *
 * The messages are those of the channel `tcp-keepalive:dead-peer` of `node:diagnostics_channel`.
 * If a listener throws, the socket and other listeners are not affected: Node reports the error
 * as uncaught on the next tick, which ends a process that has no handler for uncaught exceptions.
 *
 * Side effects: none on any socket. A listener does not keep the process running. Each
 * worker has its own listeners.
 *
 * @param listener Called with one `DeadPeerMessage`, synchronously.
 * @returns A function that stops the calls. Later calls of it do nothing.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a function; ERR_INVALID_ARG_VALUE: too many
 * arguments.
 * @platform All.
 * @see docs/production.md for alerts and metrics
 *
 * @example
 * const stop = onDeadPeer(({ error, remoteAddress, remotePort }) => {
 *   console.warn(`${remoteAddress}:${remotePort} is dead: ${error.code}`)
 * })
 * stop()
 */
export function onDeadPeer(listener: (message: DeadPeerMessage) => void): () => void {
  if (typeof listener !== 'function') {
    const advice = 'It is called for every connection: the message has the socket.'
    throw invalidType('the listener', 'a function', listener, advice)
  }
  if (arguments.length > 1) {
    refuseMore('onDeadPeer(listener)', 1, arguments, 'onDeadPeer(({ error }) => log(error))')
  }
  // One subscriber for each call, so that each can be stopped separately.
  const subscriber = (message: unknown) => listener(message as DeadPeerMessage)
  subscribe(DEAD_PEER_CHANNEL, subscriber)
  return () => {
    unsubscribe(DEAD_PEER_CHANNEL, subscriber)
  }
}
