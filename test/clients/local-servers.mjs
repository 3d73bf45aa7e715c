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
import { BSON } from 'mongodb'
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

/** As much of MongoDB as `hello`, `find` and the cursor that comes of it. */
function mongo(command) {
  const documents = [{ text: 'x'.repeat(1000) }]
  const ns = 'test.documents'
  if (command.hello || command.ismaster) {
    return {
      ...{ isWritablePrimary: true, ismaster: true, helloOk: true, readOnly: false },
      ...{ minWireVersion: 0, maxWireVersion: 25, logicalSessionTimeoutMinutes: 30 },
      ...{ maxBsonObjectSize: 16_777_216, maxMessageSizeBytes: 48_000_000 },
      ...{ maxWriteBatchSize: 100_000, localTime: new Date(), connectionId: 1, ok: 1 },
    }
  }
  if (command.find) return { cursor: { id: 1n, ns, firstBatch: documents }, ok: 1 }
  if (command.getMore) return { cursor: { id: 1n, ns, nextBatch: documents }, ok: 1 }
  return { n: 1, ok: 1 }
}

const OP_QUERY = 2004

/** MongoDB's messages: OP_MSG, and OP_QUERY with which a client begins. */
function answerMongo(message) {
  const [id, operation] = [message.readInt32LE(4), message.readInt32LE(12)]
  const query = operation === OP_QUERY
  // Before the document: flags, name, skip, limit; or flags, the kind of section.
  const start = query ? message.indexOf(0, 20) + 9 : 21
  const size = message.readInt32LE(start)
  const document = BSON.serialize(mongo(BSON.deserialize(message.subarray(start, start + size))))
  const head = Buffer.alloc(query ? 36 : 21)
  head.writeInt32LE(head.length + document.length, 0)
  head.writeInt32LE(id, 8)
  head.writeInt32LE(query ? 1 : 2013, 12)
  if (query) head.writeInt32LE(1, 32)
  return Buffer.concat([head, document])
}

function serveMongo(socket) {
  let received = Buffer.alloc(0)
  socket
    .on('error', () => {})
    .on('data', (data) => {
      received = Buffer.concat([received, data])
      while (received.length >= 16 && received.length >= received.readInt32LE(0)) {
        const size = received.readInt32LE(0)
        socket.write(answerMongo(received.subarray(0, size)))
        received = received.subarray(size)
      }
    })
}

const plain = (value) => value

/** Name → starts it and resolves to its port. */
export const localServers = {
  http: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, here)),
  https: () =>
    listening(
      createHttpsServer({ ciphers: 'PSK', pskCallback: () => psk, keepAliveTimeout: 60_000 }, here),
    ),
  /** Accepts, reads, and never answers. */
  acceptor: () => listening(createServer((socket) => socket.on('error', () => {}).resume())),
  /** Keeps its connections, which tinyproxy does with CONNECT only. */
  forwardProxy: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, forward)),
  s3: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, s3)),
  elasticsearch: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, elasticsearch)),
  mongo: () => listening(createServer(serveMongo)),
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
