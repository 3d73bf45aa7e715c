import { once } from 'node:events'
import http from 'node:http'
import { EventSource } from 'eventsource'
import { Server as SocketIoServer } from 'socket.io'
import { io } from 'socket.io-client'
import * as undici from 'undici'
import WebSocket, { WebSocketServer } from 'ws'
import { unplug } from '../../../dist/testing.js'
import { listening, news } from '../local-servers.mjs'

const host = '127.0.0.1'

/** A server whose client goes silent: what `accept` resolves to when the server has noticed. */
const silentClient = (accept, connect) => ({
  option: 'the http.Server',
  async story({ guard }) {
    const server = http.createServer()
    guard?.(server)
    const accepted = []
    server.on('connection', (socket) => accepted.push(socket))
    const noticed = accept(server)
    await connect(await listening(server))
    for (const socket of accepted) unplug(socket)
    return await noticed
  },
})

const socketIoClient = ({ port, guard }) => {
  const agent = guard && new http.Agent({ keepAlive: true })
  guard?.(agent)
  return io(`http://${host}:${port}`, {
    transports: ['websocket'],
    reconnectionDelay: 200,
    ...(agent && { agent }),
  })
}

/** Of servers, too: what clients alone need is the default. */
export const scope = 'all'

export const drivers = {
  ws: {
    server: 'ws',
    option: 'upgrade event, response.socket',
    async open({ port, guard, onError }) {
      const client = new WebSocket(`ws://${host}:${port}`)
      if (guard) client.on('upgrade', (response) => guard(response.socket))
      client.on('error', onError).on('close', (code) => onError(`close ${code}`))
      await once(client, 'open')
      return {
        query: () =>
          new Promise((resolve, reject) => {
            const settle = (error) => {
              client.off('message', onMessage).off('close', onClose)
              if (error) reject(error)
              else resolve()
            }
            const onMessage = () => settle()
            // ws keeps the socket's error for itself.
            const onClose = (code) => settle(new Error(`'close', code ${code}`))
            client.on('message', onMessage).on('close', onClose)
            client.send('x', (error) => error && settle(error))
          }),
      }
    },
  },
  'ws, WebSocketServer': {
    ...silentClient(
      async (server) => {
        const [client] = await once(new WebSocketServer({ server }), 'connection')
        client.on('error', () => {})
        const [code] = await once(client, 'close')
        return `'close', code ${code}`
      },
      (port) =>
        once(
          new WebSocket(`ws://${host}:${port}`).on('error', () => {}),
          'open',
        ),
    ),
    expects: "'close', code 1006",
  },
  'socket.io-client': {
    server: 'socketIo',
    option: 'agent',
    async open(given) {
      const client = socketIoClient(given)
      client.on('connect_error', given.onError)
      client.on('disconnect', (reason) => given.onError(`disconnect ${reason}`))
      await once(client, 'connect')
      return { query: () => client.emitWithAck('echo', 'x') }
    },
  },
  'socket.io-client, emit with a callback': {
    server: 'socketIo',
    async story({ port, cut }) {
      const client = socketIoClient({ port })
      await once(client, 'connect')
      cut()
      return new Promise((resolve) => client.emit('echo', 'x', resolve))
    },
    expects: 'stuck',
  },
  'socket.io-client, timeout() and a callback': {
    server: 'socketIo',
    async story({ port, cut }) {
      const client = socketIoClient({ port })
      await once(client, 'connect')
      cut()
      return new Promise((resolve, reject) => {
        client.timeout(60_000).emit('echo', 'x', (error) => {
          if (error) reject(error)
          else resolve('an answer')
        })
      })
    },
    expects: 'rejects',
  },
  'socket.io, Server': {
    ...silentClient(
      (server) =>
        new Promise((resolve) => {
          new SocketIoServer(server).on('connection', (client) => {
            client.on('disconnect', (reason) => resolve(`'disconnect', ${reason}`))
          })
        }),
      (port) => once(socketIoClient({ port }), 'connect'),
    ),
    expects: "'disconnect', transport close",
  },
  eventsource: {
    server: 'http',
    option: 'fetch',
    async open({ port, guard, onError }) {
      const connector = undici.buildConnector({})
      const dispatcher = new undici.Agent({
        connect: (options, callback) =>
          connector(options, (error, socket) => {
            if (socket) guard(socket)
            callback(error, socket)
          }),
      })
      const source = new EventSource(`http://${host}:${port}/events`, {
        ...(guard && { fetch: (url, init) => undici.fetch(url, { ...init, dispatcher }) }),
      })
      source.addEventListener('error', (event) => onError(`error event: ${event.message}`))
      const opened = () =>
        new Promise((resolve) => {
          if (source.readyState === source.OPEN) resolve()
          else source.addEventListener('open', resolve, { once: true })
        })
      /** The next event, or the error that comes before. */
      const next = () =>
        new Promise((resolve, reject) => {
          const listeners = new AbortController()
          const { signal } = listeners
          const settle = (settled, value) => {
            listeners.abort()
            settled(value)
          }
          source.addEventListener('message', ({ data }) => settle(resolve, data), { signal })
          const onError = ({ message }) => settle(reject, new Error(`error event: ${message}`))
          source.addEventListener('error', onError, { signal })
          news.emit(String(port))
        })
      // What comes while it reconnects is missed.
      const query = () => opened().then(next)
      return { query }
    },
  },
}
