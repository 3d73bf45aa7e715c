/**
 * What Node's own protocols have read from a socket and the program has not taken yet. Only data
 * properties are read: a getter or a Proxy on a socket is the program's own.
 */
import type { Socket } from 'node:net'
import { types } from 'node:util'

interface Buffer {
  readonly readableLength: number
}

/** Bytes in the buffers of the socket and of an HTTP/1 message on it. */
export function bufferedBytes(socket: Socket): number {
  const next = own(own(socket, 'parser'), 'incoming')
  // Of pipelined requests, the one that is being answered.
  const answered = own(own(socket, '_httpMessage'), 'req')
  return socket.readableLength + lengthOf(next) + (answered === next ? 0 : lengthOf(answered))
}

/**
 * Returns a function that counts the bytes in the streams of the HTTP/2 session on a socket, and
 * undefined if there is none. A session reads as fast as its windows allow, so that its streams can
 * hold all that the peer has sent.
 */
export function http2Buffers(socket: Socket): (() => number) | undefined {
  // Node's key is a symbol that is undefined where it is used, so that it is this string (Node 20 to 26).
  const session = own(socket, 'undefined') ?? own(socket, symbol(socket, 'kBoundSession'))
  const streams = own(own(session, symbol(session, 'state')), 'streams') as
    | Map<number, object>
    | undefined
  if (typeof streams?.values !== 'function') return undefined
  return () => {
    let bytes = 0
    for (const stream of streams.values()) {
      // The request of the compatibility API has a buffer of its own.
      bytes += lengthOf(stream) + lengthOf(own(stream, symbol(stream, 'request')))
    }
    return bytes
  }
}

function own(object: unknown, key: PropertyKey | undefined): unknown {
  if (key === undefined || typeof object !== 'object' || object === null) return undefined
  if (types.isProxy(object)) return undefined
  return Object.getOwnPropertyDescriptor(object, key)?.value
}

function symbol(object: unknown, description: string): symbol | undefined {
  if (typeof object !== 'object' || object === null || types.isProxy(object)) return undefined
  return Object.getOwnPropertySymbols(object).find((key) => key.description === description)
}

function lengthOf(stream: unknown): number {
  if (typeof stream !== 'object' || stream === null || types.isProxy(stream)) return 0
  const { readableLength } = stream as Partial<Buffer>
  return typeof readableLength === 'number' ? readableLength : 0
}
