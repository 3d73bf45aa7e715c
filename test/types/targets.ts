/**
 * What is a target and what is not shows at compile time. Each kind by itself, as a
 * union would hide the one that does not fit. Checked by `tsc --project test/types`.
 */
import type { ChildProcess } from 'node:child_process'
import type { Socket as DatagramSocket } from 'node:dgram'
import http, { type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import http2, { type Http2Stream } from 'node:http2'
import https from 'node:https'
import net, { type ListenOptions } from 'node:net'
import type { Duplex, PassThrough } from 'node:stream'
import tls, { type TLSSocket } from 'node:tls'
import { setKeepalive, setUserTimeout, type Target } from 'tcp-keepalive'
import type { WebSocket, WebSocketServer } from 'ws'

// ------------------------------------------------------------- targets

const sockets = [
  new net.Socket(),
  net.connect(1),
  net.createConnection(1),
  tls.connect(1),
  new tls.TLSSocket(new net.Socket()),
] satisfies Target[]

const servers = [
  net.createServer(),
  tls.createServer(),
  http.createServer(),
  https.createServer(),
  http2.createServer(),
  http2.createSecureServer(),
] satisfies Target[]

class Subclass extends https.Agent {}
const agents = [
  new http.Agent(),
  new https.Agent(),
  http.globalAgent,
  https.globalAgent,
  new Subclass(),
] satisfies Target[]

const client = http2.connect('https://localhost') satisfies Target
http2.createServer().on('session', (session) => setKeepalive(session, true))
http.createServer().on('upgrade', (request) => setUserTimeout(request.socket, 90_000))
http.createServer().on('connection', (socket) => setKeepalive(socket, { idle: 60 }))
declare const stream: Http2Stream
if (stream.session !== undefined) setKeepalive(stream.session, true)

for (const target of [...sockets, ...servers, ...agents, client]) {
  setKeepalive(target, { idle: 60, interval: 10, count: 3 })
  setUserTimeout(target, 90_000)
}

/** A function of one's own can take what the library takes. */
const both = (target: Target): void => {
  setKeepalive(target, true)
  setUserTimeout(target, 90_000)
}
both(sockets[0] as TLSSocket)

// ------------------------------------------------------------- no targets

declare const datagram: DatagramSocket
declare const duplex: Duplex
declare const passThrough: PassThrough
declare const request: ClientRequest
declare const incoming: IncomingMessage
declare const response: ServerResponse
declare const child: ChildProcess
declare const webSocket: WebSocket
declare const webSockets: WebSocketServer
declare const listenOptions: ListenOptions
declare const perhaps: net.Socket | null

// @ts-expect-error UDP has no TCP options.
both(datagram)
// @ts-expect-error A stream is not a socket: pass the TCP socket that carries it.
both(duplex)
// @ts-expect-error
both(passThrough)
// @ts-expect-error Its `socket` is the target, once there is one.
both(request)
// @ts-expect-error Its `socket` is the target.
both(incoming)
// @ts-expect-error
both(response)
// @ts-expect-error Its `session` is the target.
both(stream)
// @ts-expect-error A pipe.
both(child)
// @ts-expect-error The http server or the request's socket is the target.
both(webSocket)
// @ts-expect-error
both(webSockets)
// @ts-expect-error The server is the target.
both(listenOptions)
// @ts-expect-error A connection may have none.
both(perhaps)
// @ts-expect-error
both(request.socket)
// @ts-expect-error The function that makes servers is not one.
both(net.createServer)
// @ts-expect-error The class is not an agent.
both(http.Agent)
// @ts-expect-error A descriptor may be another socket's the next moment.
both(3)
// @ts-expect-error
both('127.0.0.1:80')
