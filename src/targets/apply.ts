/** Settings onto a target: every target ends in sockets or in a listener. */
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
 * What can be set.
 *
 * - a `net.Socket`, so a `tls.TLSSocket` too, connected or not;
 * - a `net.Server` (also http, https, tls, http2): what it accepts, or is handed by
 *   `server.emit('connection', socket)`, from then on;
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

/** Loaded only here: a program that sets sockets alone needs no node:http. */
function isAgent(target: unknown): target is Agent {
  return (
    typeof target === 'object' &&
    target !== null &&
    target instanceof (require('node:http') as typeof import('node:http')).Agent
  )
}

/** Node exports no class to ask with `instanceof`. */
function isHttp2Session(target: unknown): target is Http2Session {
  return (
    target instanceof EventEmitter &&
    (target.constructor?.name === 'ClientHttp2Session' ||
      target.constructor?.name === 'ServerHttp2Session')
  )
}

/**
 * The socket below a session. `session.socket` is a proxy that refuses to be
 * manipulated; a method that returns its receiver returns the socket itself.
 */
function socketOfSession(session: Http2Session): Socket {
  if (session.destroyed) throw socketClosed()
  // The name of the class is all that is known: it may be another's.
  const { socket: proxy } = session as { socket?: { off?: Http2Session['socket']['off'] } }
  const socket: unknown = proxy?.off?.('close', noListener)
  if (!(socket instanceof Socket)) throw socketClosed()
  return socket
}

function noListener(): void {}
