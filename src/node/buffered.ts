/** What Node's own protocols have read from a socket and the program has not taken yet. */
import type { Socket } from 'node:net'

interface Buffer {
  readonly readableLength: number
}

interface HttpSocket extends Socket {
  /** Of node:http, client and server. */
  readonly parser?: { readonly incoming?: Buffer | null } | null
}

/** Bytes in the buffers of the socket and of an HTTP/1 message on it. */
export function bufferedBytes(socket: Socket): number {
  const message = (socket as HttpSocket).parser?.incoming
  return socket.readableLength + (message?.readableLength ?? 0)
}

/**
 * The streams of the HTTP/2 session on a socket, undefined if there is none. A session reads as
 * fast as its windows allow, so that its streams can hold all that the peer has sent.
 */
export function http2Streams(socket: Socket): Iterable<Buffer> | undefined {
  // Node keeps the session under a key that differs between versions.
  const session = Reflect.ownKeys(socket)
    .map((key) => (socket as unknown as Record<PropertyKey, unknown>)[key])
    .find(isSession)
  const key = Object.getOwnPropertySymbols(session ?? {}).find((key) => key.description === 'state')
  const streams = key && session?.[key]?.streams
  return typeof streams?.values === 'function'
    ? { [Symbol.iterator]: () => streams.values() }
    : undefined
}

interface Session {
  readonly [state: symbol]: { readonly streams?: Map<number, Buffer> } | undefined
}

function isSession(value: unknown): value is Session {
  const name = (value as object | null | undefined)?.constructor?.name
  return name === 'ClientHttp2Session' || name === 'ServerHttp2Session'
}
