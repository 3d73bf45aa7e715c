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

const here = (_, response) => response.end('here')
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
