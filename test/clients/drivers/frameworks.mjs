/**
 * Frameworks as servers: the client goes silent, and the server's own connection must die in time.
 * In the way `option`, `setDeadPeerTimeout` is given the server.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Controller, Module, Sse } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { ClientProxyFactory, Transport } from '@nestjs/microservices'
import express from 'express'
import fastify from 'fastify'
import { lastValueFrom, Observable } from 'rxjs'
import { isDeadPeerError } from '../../../dist/index.js'
import { unplug } from '../../../dist/testing.js'
import { nestMicroservice } from '../nest.mjs'

const host = '127.0.0.1'
const GET = 'GET / HTTP/1.1\r\nHost: test\r\n\r\n'
const GET_EVENTS = GET.replace('/', '/events')
const UPLOAD = 'POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nthe first half'
const kernel = (error) => (isDeadPeerError(error) ? "the kernel's error" : error.code)

/** A client that sends `bytes` and then goes silent. `closed`: once its accepted socket is closed. */
async function silentClient(server, bytes) {
  const accepted = once(server, 'connection')
  const client = connect(server.address().port, host)
  client.on('error', () => {}).resume()
  client.write(bytes)
  const [socket] = await accepted
  const closed = new Promise((resolve) => socket.once('close', resolve))
  // Until the request has reached its handler.
  await sleep(300)
  unplug(socket)
  return { closed }
}

/** What happens, in words and in order. */
async function happenings(server, bytes, words) {
  const { closed } = await silentClient(server, bytes)
  await closed
  await sleep(100)
  return words.join(', ')
}

/** Follows Node's own events of a request. */
function follow(request, response, words) {
  request.on('error', (error) => words.push(`request 'error' ${error.code}`))
  request.on('close', () => words.push("request 'close'"))
  response.on('error', (error) => words.push(`response 'error' ${error.code}`))
  response.on('close', () => words.push("response 'close'"))
}

/** Sends a piece now and then, as server-sent events do. */
function sendNowAndThen(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const timer = setInterval(() => response.write('data: x\n\n'), 100)
  response.on('close', () => clearInterval(timer))
}

async function fastifyServer(guard, words) {
  const app = fastify({
    clientErrorHandler(error, socket) {
      words.push(`clientErrorHandler with ${kernel(error)}`)
      socket.destroy(error)
    },
  })
  guard?.(app.server)
  app.addHook('onRequestAbort', async (_request) => {
    words.push('onRequestAbort')
  })
  app.get('/', (request, reply) => {
    follow(request.raw, reply.raw, words)
    return new Promise(() => {})
  })
  app.get('/events', (request, reply) => {
    reply.hijack()
    follow(request.raw, reply.raw, words)
    sendNowAndThen(reply.raw)
  })
  app.post('/', (request) => ({ body: request.body }))
  app.addContentTypeParser('*', async (_, payload) => {
    try {
      for await (const _ of payload);
    } catch (error) {
      words.push(`the body rejects: ${error.code}`)
    }
  })
  await app.listen({ host, port: 0 })
  return app
}

async function expressServer(guard, words) {
  const app = express()
  app.get('/', (request, response) => follow(request, response, words))
  app.get('/events', (request, response) => {
    follow(request, response, words)
    sendNowAndThen(response)
  })
  app.post('/', async (request, response) => {
    try {
      for await (const _ of request);
      response.end()
    } catch (error) {
      words.push(`the body rejects: ${error.code}`)
    }
  })
  const server = app.listen(0, host)
  guard?.(server)
  await once(server, 'listening')
  return server
}

async function nestServer(guard, words) {
  class Events {
    events() {
      return new Observable((subscriber) => {
        const timer = setInterval(() => subscriber.next({ data: 'x' }), 100)
        return () => {
          clearInterval(timer)
          words.push('the observable is unsubscribed')
        }
      })
    }
  }
  // As the decorators in TypeScript.
  Sse('events')(
    Events.prototype,
    'events',
    Object.getOwnPropertyDescriptor(Events.prototype, 'events'),
  )
  Controller()(Events)
  class EventsModule {}
  Module({ controllers: [Events] })(EventsModule)
  const app = await NestFactory.create(EventsModule, { logger: false })
  guard?.(app.getHttpServer())
  await app.listen(0, host)
  return app
}

/** TCP_KEEPALIVE_SCOPE: by default `register` leaves accepted sockets alone. */
export const scope = 'all'

const NODE = "response 'close', request 'error' ECONNRESET, request 'close'"
const FASTIFY = `clientErrorHandler with the kernel's error, ${NODE}, onRequestAbort`

export const drivers = {
  'fastify, a handler at work': {
    option: 'app.server',
    async story({ guard }) {
      const words = []
      const app = await fastifyServer(guard, words)
      return happenings(app.server, GET, words)
    },
    expects: FASTIFY,
  },
  'fastify, server-sent events': {
    option: 'app.server',
    async story({ guard }) {
      const words = []
      const app = await fastifyServer(guard, words)
      return happenings(app.server, GET_EVENTS, words)
    },
    expects: FASTIFY,
  },
  'fastify, half an upload': {
    option: 'app.server',
    async story({ guard }) {
      const words = []
      const app = await fastifyServer(guard, words)
      return happenings(app.server, UPLOAD, words)
    },
    expects:
      "clientErrorHandler with the kernel's error, onRequestAbort, the body rejects: ECONNRESET",
  },
  'fastify, close()': {
    option: 'app.server',
    async story({ guard }) {
      const app = await fastifyServer(guard, [])
      await silentClient(app.server, GET)
      await app.close()
      return 'closed'
    },
    expects: 'closed',
  },
  'express, a handler at work': {
    option: 'the server of app.listen()',
    async story({ guard }) {
      const words = []
      const server = await expressServer(guard, words)
      return happenings(server, GET, words)
    },
    expects: NODE,
  },
  'express, server-sent events': {
    option: 'the server of app.listen()',
    async story({ guard }) {
      const words = []
      const server = await expressServer(guard, words)
      // Node answers it by itself where there is no listener.
      server.on('clientError', (error, socket) => {
        words.push(`'clientError' with ${kernel(error)}`)
        socket.destroy()
      })
      return happenings(server, GET_EVENTS, words)
    },
    expects: `'clientError' with the kernel's error, ${NODE}`,
  },
  'express, half an upload': {
    option: 'the server of app.listen()',
    async story({ guard }) {
      const words = []
      const server = await expressServer(guard, words)
      return happenings(server, UPLOAD, words)
    },
    expects: 'the body rejects: ECONNRESET',
  },
  'express, server.close()': {
    option: 'the server of app.listen()',
    async story({ guard }) {
      const server = await expressServer(guard, [])
      await silentClient(server, GET)
      server.close()
      await once(server, 'close')
      return 'closed'
    },
    expects: 'closed',
  },
  'Nest HTTP, server-sent events': {
    option: 'app.getHttpServer()',
    async story({ guard }) {
      const words = []
      const app = await nestServer(guard, words)
      return happenings(app.getHttpServer(), GET_EVENTS, words)
    },
    expects: 'the observable is unsubscribed',
  },
  'Nest HTTP, close()': {
    option: 'app.getHttpServer()',
    async story({ guard }) {
      const app = await nestServer(guard, [])
      await silentClient(app.getHttpServer(), GET_EVENTS)
      await app.close()
      return 'closed'
    },
    expects: 'closed',
  },
  'Nest TCP, the client': {
    server: 'nest',
    option: "'connect' event, client.unwrap()",
    async open({ port, guard, onError }) {
      const client = ClientProxyFactory.create({
        transport: Transport.TCP,
        options: { host, port },
      })
      client.on('error', onError)
      if (guard) client.on('connect', () => guard(client.unwrap()))
      await client.connect()
      return { query: () => lastValueFrom(client.send('echo', 1)) }
    },
  },
  'Nest TCP, the server': {
    option: 'app.unwrap()',
    async story({ guard }) {
      const words = []
      const app = await nestMicroservice()
      guard?.(app.unwrap())
      // Nest logs "The invalid received message from tcp server", whatever the error is.
      app.unwrap().on('connection', (socket) => {
        socket.on('error', (error) => words.push(`the socket's 'error' is ${kernel(error)}`))
      })
      await app.listen()
      const packet = JSON.stringify({ pattern: 'never', data: 1, id: '1' })
      return happenings(app.unwrap(), `${packet.length}#${packet}`, words)
    },
    expects: "the socket's 'error' is the kernel's error",
  },
}
