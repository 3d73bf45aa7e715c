import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { DEAD_PEER_CHANNEL, type DeadPeerMessage } from './connection/dead-peer-channel.js'
import { invalidType, refuseMore } from './errors.js'

/**
 * Calls `listener` once for each connection of this process that ends because its peer is dead,
 * whatever set it: a setter of this library, `installDefaults`, or `tcp-keepalive/register`.
 * Useful for logs and metrics, because it includes the connections of drivers that hide their
 * sockets.
 *
 * The call comes as the connection closes, before the socket's `'error'`, also if Node found
 * the error itself or if a connect failed. Resets, refused connects and connections that
 * this library has not set are not reported.
 *
 * The messages are those of the channel `tcp-keepalive:dead-peer` of `node:diagnostics_channel`.
 * So if a listener throws, the socket and other listeners are not affected: the error is an
 * uncaught exception on the next tick, which ends a process without a handler for it.
 *
 * Side effects: none on any socket. A listener does not keep the process running. A worker
 * has listeners of its own.
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
    const advice = 'It is called for every connection: its message says which socket.'
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
