/**
 * The servers that Node itself is: each started by name where a driver asks for it, in the
 * driver's own process.
 */
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer } from 'node:net'
import grpc from '@grpc/grpc-js'
import { WebSocketServer } from 'ws'

export const psk = Buffer.alloc(16, 7)

export async function listening(server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

/** As much of SQL Server's protocol (MS-TDS) as its drivers need: a login, and an empty result for every request. */
function answerTds(socket) {
  const reply = (...parts) => {
    const body = Buffer.concat(parts)
    const header = Buffer.from([4, 1, 0, 0, 0, 0, 1, 0])
    header.writeUInt16BE(header.length + body.length, 2)
    socket.write(Buffer.concat([header, body]))
  }
  const done = Buffer.from([0xfd, ...new Array(12).fill(0)])
  let received = Buffer.alloc(0)
  socket
    .on('error', () => {})
    .on('data', (data) => {
      received = Buffer.concat([received, data])
      while (received.length >= 4 && received.length >= received.readUInt16BE(2)) {
        const [type, status] = received
        received = received.subarray(received.readUInt16BE(2))
        const last = (status & 1) === 1
        if (!last) continue
        // PRELOGIN: a version, and no encryption.
        if (type === 0x12) {
          reply(Buffer.from([0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 15, 0, 0, 0, 0, 0, 2]))
        } else if (type === 0x10) reply(loginAck(), done)
        else reply(done)
      }
    })
}

/** The token of MS-TDS that accepts a login: TDS 7.4. */
function loginAck() {
  const name = Buffer.from('SQL', 'utf16le')
  const version = [15, 0, 0, 0]
  const body = Buffer.from([1, 0x74, 0, 0, 4, name.length / 2, ...name, ...version])
  return Buffer.concat([Buffer.from([0xad, body.length, 0]), body])
}

const here = (_, response) => response.end('here')
const plain = (value) => value

/** Name → starts it and resolves to its port. */
export const localServers = {
  http: () => listening(createHttpServer({ keepAliveTimeout: 60_000 }, here)),
  https: () =>
    listening(
      createHttpsServer({ ciphers: 'PSK', pskCallback: () => psk, keepAliveTimeout: 60_000 }, here),
    ),
  sqlServer: () => listening(createServer(answerTds)),
  /** Accepts, reads, and never answers. */
  acceptor: () => listening(createServer((socket) => socket.on('error', () => {}).resume())),
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
