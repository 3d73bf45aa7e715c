/** Applies settings to a target: to its sockets, or to its listener. */
import { EventEmitter } from 'node:events'
import type { Agent } from 'node:http'
import type { Http2Session } from 'node:http2'
import { Server, Socket } from 'node:net'
import { invalidType, socketAdvice, socketClosed } from '../errors.js'
import { IS_NODE } from '../node/descriptor.js'
import type { Settings } from '../options/settings.js'
import { applyToAgent } from './agent.js'
import { applyToForeignServer } from './foreign-server.js'
import { applyToServer } from './server.js'
import { applyToSocket } from './socket.js'

/**
 * What the setters accept.
 *
 * - a `net.Socket`, so a `tls.TLSSocket` too, connected or not;
 * - a `net.Server` (also http, https, tls, http2): the connections that it accepts from then on,
 *   or receives by `server.emit('connection', socket)`;
 * - an `http.Agent` or `https.Agent`: every socket that it opens or reuses;
 * - an `Http2Session`: the socket below it.
 */
export type Target = Socket | Server | Agent | Http2Session

export function apply(target: Target, settings: Settings): void {
  if (target instanceof Socket) applyToSocket(target, settings)
  else if (target instanceof Server && IS_NODE) applyToServer(target, settings)
  else if (target instanceof Server) applyToForeignServer(target, settings)
  else if (isAgent(target)) applyToAgent(target, settings)
  else if (isHttp2Session(target)) applyToSocket(socketOfSession(target), settings)
  else {
    throw invalidType(
      'the target',
      'a net.Socket, a net.Server, an http.Agent or an Http2Session',
      target,
      socketAdvice(target),
    )
  }
}

/** Loads node:http only here: a program that sets only sockets does not need it. */
function isAgent(target: unknown): target is Agent {
  return (
    typeof target === 'object' &&
    target !== null &&
    target instanceof (require('node:http') as typeof import('node:http')).Agent
  )
}

/** By name, because Node does not export the classes. */
function isHttp2Session(target: unknown): target is Http2Session {
  return (
    target instanceof EventEmitter &&
    (target.constructor?.name === 'ClientHttp2Session' ||
      target.constructor?.name === 'ServerHttp2Session')
  )
}

/**
 * The socket below a session. `session.socket` is a proxy that restricts access; a method
 * that returns its receiver returns the socket itself.
 */
function socketOfSession(session: Http2Session): Socket {
  if (session.destroyed) throw socketClosed()
  // Only the name of the class was checked: it may be another class.
  const { socket: proxy } = session as { socket?: { off?: Http2Session['socket']['off'] } }
  const socket: unknown = proxy?.off?.('close', noListener)
  if (!(socket instanceof Socket)) throw socketClosed()
  return socket
}

function noListener(): void {}
