/**
 * All drivers side by side, in one way: `register`, `door` or `without`. Prints what
 * each did as JSON. What is judged is in run.mjs.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer, Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import grpc from '@grpc/grpc-js'
import { WebSocketServer } from 'ws'
import {
  getKeepalive,
  getUserTimeout,
  isDeadPeerError,
  setDeadPeerTimeout,
} from '../../dist/index.js'
import { unplug } from '../../dist/testing.js'
import { clients, psk } from './clients.mjs'

const { way, ms, wait, load, ports } = JSON.parse(process.argv[2])

// The first use asks Node for its internals with a socket that goes nowhere: not in a driver's name.
setDeadPeerTimeout(new Socket(), ms)

/** Which test opens a socket; reconnects inherit it. */
const opening = new AsyncLocalStorage()
const { connect } = Socket.prototype
Socket.prototype.connect = function (...args) {
  opening.getStore()?.push(this)
  return Reflect.apply(connect, this, args)
}

const listening = async (server) => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}
const here = (_, response) => response.end('here')
ports.https = await listening(
  createHttpsServer({ ciphers: 'PSK', pskCallback: () => psk, keepAliveTimeout: 60_000 }, here),
)
ports.acceptor = await listening(createServer((socket) => socket.on('error', () => {}).resume()))
const webSockets = createHttpServer()
new WebSocketServer({ server: webSockets }).on('connection', (socket) => {
  socket.on('error', () => {}).on('message', (data) => socket.send(data))
})
ports.ws = await listening(webSockets)
const plain = (value) => value
const grpcServer = new grpc.Server()
grpcServer.addService(
  {
    echo: {
      ...{ path: '/test/echo', requestStream: false, responseStream: false },
      ...{ requestSerialize: plain, requestDeserialize: plain },
      ...{ responseSerialize: plain, responseDeserialize: plain },
    },
  },
  { echo: ({ request }, callback) => callback(null, request) },
)
ports.grpc = await new Promise((resolve, reject) => {
  grpcServer.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  )
})

const guard = (target) => setDeadPeerTimeout(target, ms)
const describe = (error) =>
  error instanceof Error
    ? `${error.name}: ${error.code ?? ''} ${error.message}`.slice(0, 120)
    : String(error)
const optionsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })
const live = (sockets) => sockets.filter((socket) => !socket.destroyed && !socket.connecting)

/** What a promise comes to, and when; `undefined` when it has not within the time. */
async function settled(promise, within) {
  const start = performance.now()
  const outcome = promise.then(
    () => ({ resolved: true }),
    (error) => ({ resolved: false, error: describe(error), deadPeer: isDeadPeerError(error) }),
  )
  const result = await Promise.race([outcome, sleep(within, undefined, { ref: false })])
  return result && { ...result, after: Math.round(performance.now() - start) }
}

/** Opens a driver anew, with the sockets that it opens. */
async function open({ open, door, server }) {
  const sockets = []
  const told = []
  const tell = (error) => told.push(describe(error))
  // Node's own fetch has one pool for all: an origin of its own keeps the tests apart.
  const port =
    server === 'http'
      ? await listening(createHttpServer({ keepAliveTimeout: 60_000 }, here))
      : ports[server]
  const given = { port, told: tell, ...(way === 'door' && door && { guard }) }
  return opening.run(sockets, async () => {
    const { query } = await open(given)
    return { query: query && (() => opening.run(sockets, async () => query())), sockets, told }
  })
}

async function connectedSockets(sockets) {
  for (let i = 0; i < 100 && live(sockets).length === 0; i++) await sleep(50)
  return live(sockets)
}

/** Follows the sockets to their errors. */
function deaths(sockets) {
  const start = performance.now()
  return sockets.map((socket) => {
    const death = {}
    socket.once('close', () => {
      death.after = Math.round(performance.now() - start)
      death.deadPeer = isDeadPeerError(socket.errored)
      death.error = describe(socket.errored)
    })
    return death
  })
}

async function healthy(client) {
  const { query, sockets } = await open(client)
  await query()
  const before = live(sockets)
  const options = before.map(optionsOf)
  const end = performance.now() + load
  let queries = 0
  while (performance.now() < end) {
    await query()
    queries++
    // Busy, but not so that all drivers together starve what is timed beside them.
    await sleep(5)
  }
  // More may have been opened, as undici does; none may have gone.
  const gone = sockets.filter((socket) => socket.destroyed).map(({ errored }) => describe(errored))
  const optionsAfter = live(before).map(optionsOf)
  return { options, optionsAfter, queries, connections: before.length, gone }
}

async function inFlight(client) {
  const { query, sockets, told } = await open(client)
  await query()
  // Until the connection is back in its pool: undici would open another one.
  await sleep(300)
  const cut = live(sockets)
  for (const socket of cut) unplug(socket)
  const died = deaths(cut)
  const outcome = await settled(query(), wait)
  await sleep(100)
  return { outcome, died, told }
}

async function idle(client) {
  const { query, sockets, told } = await open(client)
  await query()
  const cut = live(sockets)
  // What the query leaves unacknowledged is not idle.
  await sleep(300)
  for (const socket of cut) unplug(socket)
  const died = deaths(cut)
  for (const end = performance.now() + wait; performance.now() < end; await sleep(20)) {
    if (died.every(({ after }) => after !== undefined)) break
  }
  const dead = died.every(({ after }) => after !== undefined)
  return { died, told, next: dead ? await settled(query(), 3000) : undefined }
}

const guarded = async (action) => {
  try {
    return await action()
  } catch (error) {
    return { failed: error.stack }
  }
}

const results = {}
const uncaught = []
process.on('uncaughtException', (error) => uncaught.push(describe(error)))
await Promise.all(
  Object.entries(clients).map(async ([name, client]) => {
    if (way === 'door' && client.door === undefined) return
    if (client.optionsOnly) {
      const opened = await open(client)
      const sockets = await connectedSockets(opened.sockets)
      // After the driver's own calls.
      await sleep(100)
      results[name] = { options: live(sockets).map(optionsOf), optionsAfter: [] }
      return
    }
    const parts = [healthy, inFlight, idle].map((part) => guarded(() => part(client)))
    const [load, flight, quiet] = await Promise.all(parts)
    results[name] = { load, flight, quiet, options: load.options, optionsAfter: load.optionsAfter }
  }),
)
const ordered = Object.fromEntries(Object.keys(clients).map((name) => [name, results[name]]))
process.stdout.write(JSON.stringify({ results: ordered, uncaught }), () => process.exit())
