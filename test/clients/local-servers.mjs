/**
 * The servers that Node itself is: each started by name where a driver asks for it, in the
 * driver's own process.
 */
import { EventEmitter, once } from 'node:events'
import { createServer as createHttpServer, get } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer } from 'node:net'
import { Readable } from 'node:stream'
import grpc from '@grpc/grpc-js'
import { Server as SocketIoServer } from 'socket.io'
import { WebSocketServer } from 'ws'

export const psk = Buffer.alloc(16, 7)

export async function listening(server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

/** 64 KB at a time, for ever. */
const endless = () =>
  Readable.from(
    (function* () {
      for (const piece = Buffer.alloc(65_536, 'x'); ; ) yield piece
    })(),
  )

/** An event with a server's port as its name is sent to each EventSource of that server. */
export const news = new EventEmitter()

const here = ({ url, socket }, response) => {
  if (url === '/endless') endless().pipe(response)
  else if (url === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('retry: 200\n\n')
    const send = () => response.write('data: here\n\n')
    const port = String(socket.localPort)
    news.on(port, send)
    response.on('close', () => news.off(port, send))
  } else response.end('here')
}

/** What a proxy of HTTP is asked for: "GET http://host:port/path". */
const forward = ({ url }, response) => get(url, { agent: false }, (answer) => answer.pipe(response))

/** S3's GetObject, of an object without an end for the key "endless". */
const s3 = ({ url }, response) => {
  response.setHeader('etag', '"x"')
  if (url.startsWith('/bucket/endless')) endless().pipe(response)
  else response.end('here')
}

const elasticsearch = (request, response) => {
  response.writeHead(200, {
    'x-elastic-product': 'Elasticsearch',
    'content-type': 'application/vnd.elasticsearch+json;compatible-with=9',
  })
  request.resume().on('end', () => response.end('{"_id":"1","found":true,"_source":{}}'))
}

const plain = (value) => value

/** Name → starts it and resolves to its port. */
export const localServers = {
  http: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, here)),
  https: () =>
    listening(
      createHttpsServer({ ciphers: 'PSK', pskCallback: () => psk, keepAliveTimeout: 60_000 }, here),
    ),
  async sqlServer() {
    const { answerTds } = await import('./tds.mjs')
    return listening(createServer(answerTds))
  },
  /** Accepts, reads, and never answers. */
  acceptor: () => listening(createServer((socket) => socket.on('error', () => {}).resume())),
  /** Writes for as long as it can. */
  flood: () =>
    listening(
      createServer((socket) => {
        const write = () => {
          while (socket.write(Buffer.alloc(65_536)));
        }
        socket.on('error', () => {}).on('drain', write)
        write()
      }),
    ),
  /** Keeps its connections, which tinyproxy does with CONNECT only. */
  forwardProxy: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, forward)),
  s3: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, s3)),
  elasticsearch: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, elasticsearch)),
  async mongo() {
    const { serveMongo } = await import('./mongo.mjs')
    return listening(createServer(serveMongo))
  },
  socketIo() {
    const server = createHttpServer()
    new SocketIoServer(server).on('connection', (socket) => {
      socket.on('echo', (value, answer) => answer(value))
    })
    return listening(server)
  },
  ws() {
    const server = createHttpServer()
    new WebSocketServer({ server }).on('connection', (socket) => {
      socket.on('error', () => {}).on('message', (data) => socket.send(data))
    })
    return listening(server)
  },
  async nest() {
    const { nestMicroservice } = await import('./nest.mjs')
    const app = await nestMicroservice()
    await app.listen()
    return app.unwrap().address().port
  },
  grpc() {
    const server = new grpc.Server()
    server.addService(
      {
        echo: {
          ...{ path: '/test/echo', requestStream: false, responseStream: false },
          ...{ requestSerialize: plain, requestDeserialize: plain },
          ...{ responseSerialize: plain, responseDeserialize: plain },
        },
      },
      { echo: ({ request }, callback) => callback(null, request) },
    )
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      )
    })
  },
}
