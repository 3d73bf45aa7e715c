import { EventEmitter } from 'node:events'
import type { Http2Session } from 'node:http2'
import { Socket } from 'node:net'
import { socketClosed } from '../errors.js'

/** Node exports no class to ask with `instanceof`. */
export function isHttp2Session(target: unknown): target is Http2Session {
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
export function socketOfSession(session: Http2Session): Socket {
  if (session.destroyed) throw socketClosed()
  // The name of the class is all that is known: it may be another's.
  const { socket: proxy } = session as { socket?: { off?: Http2Session['socket']['off'] } }
  const socket: unknown = proxy?.off?.('close', noListener)
  if (!(socket instanceof Socket)) throw socketClosed()
  return socket
}

function noListener(): void {}
