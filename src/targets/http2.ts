import { EventEmitter } from 'node:events'
import type { Http2Session } from 'node:http2'
import { Socket } from 'node:net'
import { socketClosed } from '../errors.js'

/** Node exports no class to ask with `instanceof`. */
export function isHttp2Session(target: unknown): target is Http2Session {
  return (
    target instanceof EventEmitter &&
    (target.constructor.name === 'ClientHttp2Session' ||
      target.constructor.name === 'ServerHttp2Session')
  )
}

/**
 * The socket below a session. `session.socket` is a proxy that refuses to be
 * manipulated; a method that returns its receiver returns the socket itself.
 */
export function socketOfSession(session: Http2Session): Socket {
  if (session.destroyed) throw socketClosed()
  const socket: unknown = session.socket.off('close', noListener)
  if (!(socket instanceof Socket)) throw socketClosed()
  return socket
}

function noListener(): void {}
