/**
 * A program that uses sockets in many ways and writes down all that it can see of them,
 * as JSON: for test/nothing-else.test.ts, which runs it with and without register.
 */
const { EventEmitter, once } = require('node:events')
const http = require('node:http')
const http2 = require('node:http2')
const https = require('node:https')
const net = require('node:net')
const tls = require('node:tls')
const { inspect } = require('node:util')

const psk = Buffer.alloc(16, 7)
const TLS_SERVER = { ciphers: 'PSK', pskCallback: () => psk }
const TLS_CLIENT = {
  ciphers: 'PSK',
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ psk, identity: 'test' }),
}

const seen = {}
/** Ports differ from run to run; which of Node's loops runs the ticks, with what else is due. */
const plain = (text) =>
  String(text)
    .replace(/\n {4}at .*\(node:internal\/(process\/task_queues|timers):.*\)/g, '')
    .replace(/\b\d{4,5}\b/g, 'PORT')
const stack = () => plain(new Error('here').stack)

/** Every event of an emitter in its order, with the listeners that it then has. */
function follow(name, emitter) {
  const log = []
  seen[name] = log
  const { emit } = emitter
  emitter.emit = function (event, ...values) {
    const [value] = values
    const what = value instanceof Error ? plain(value.stack) : typeof value
    log.push([String(event), what, emitter.listenerCount(event)])
    return Reflect.apply(emit, this, [event, ...values])
  }
  return emitter
}

function describe(socket) {
  const handle = socket._handle
  return {
    keys: Object.keys(socket),
    symbols: Object.getOwnPropertySymbols(socket).map(String).filter(notCache),
    methods: ['setKeepAlive', 'connect', 'destroy'].map((name) => Object.hasOwn(socket, name)),
    listeners: socket.eventNames().map((event) => [String(event), socket.listenerCount(event)]),
    handle: handle && { keys: Object.keys(handle), enumerable: enumerable(handle) },
    inspected: inspected(socket),
  }
}

/**
 * What must differ: Node's own cache knows that keepalive is on, or it would swallow a
 * later setKeepAlive(false).
 */
const notCache = (name) => !name.includes('Symbol(kSetKeepAlive')

const inspected = (socket) =>
  inspect(socket, { depth: 0 }).replace(/\d+/g, 'N').split(/,?\n/).filter(notCache)

function enumerable(object) {
  const keys = []
  for (const key in object) keys.push(key)
  return keys.sort()
}

const listen = async (server, ...where) => {
  server.listen(...(where.length > 0 ? where : [0, '127.0.0.1']))
  await once(server, 'listening')
  return server
}
const portOf = (server) => server.address().port
const turn = () => new Promise((resolve) => setTimeout(resolve, 20))

/** A request and its answer, with what is seen in between. */
async function conversation(name, client, server, connected) {
  follow(`${name}: client`, client)
  const order = []
  seen[`${name}: order`] = order
  process.nextTick(() => order.push('nextTick'))
  client.on(connected, () => {
    order.push(connected, stack())
    process.nextTick(() => order.push('nextTick after it'))
    Promise.resolve().then(() => order.push('microtask after it'))
    seen[`${name}: connected`] = describe(client)
    client.setKeepAlive(true, 1000)
    client.end('question')
  })
  client.on('data', (data) => order.push(String(data), stack()))
  client.on('end', () => order.push('end', stack()))
  await once(client, 'close')
  order.push(client.bytesRead, client.bytesWritten, client.destroyed)
  seen[`${name}: closed`] = describe(client)
  server.close()
  await once(server, 'close')
}

const answering = (name) => (socket) => {
  if (process.env.STACKS_OF_SERVERS !== 'no') seen[`${name}: 'connection'`] = stack()
  if (process.env.STACKS_OF_SERVERS !== 'no') seen[`${name}: accepted`] = describe(socket)
  socket.on('data', () => socket.end('answer'))
  socket.on('error', () => {})
}

async function errorOf(name, socket) {
  follow(`${name}: events`, socket)
  const error = await new Promise((resolve) => socket.on('error', resolve))
  seen[name] = { ...error, stack: plain(error.stack), port: undefined }
  await turn()
}

async function main() {
  let server = await listen(net.createServer(answering('plain')))
  await conversation('plain', net.connect(portOf(server), '127.0.0.1'), server, 'connect')

  server = await listen(net.createServer(answering('by name')))
  const lookup = (_host, options, callback) =>
    options.all
      ? callback(null, [{ address: '127.0.0.1', family: 4 }])
      : callback(null, '127.0.0.1', 4)
  await conversation(
    'by name',
    net.connect({ port: portOf(server), host: 'a.test', lookup, keepAlive: true, noDelay: true }),
    server,
    'connect',
  )

  server = await listen(tls.createServer(TLS_SERVER, answering('TLS')))
  await conversation(
    'TLS',
    tls.connect({ ...TLS_CLIENT, host: '127.0.0.1', port: portOf(server) }),
    server,
    'secureConnect',
  )

  const path = `${process.env.FOLDER}/socket`
  server = await listen(net.createServer(answering('path')), path)
  await conversation('path', net.connect(path), server, 'connect')

  // Nobody listens there, and no system gives it to anybody, unlike one that was just closed.
  const closed = 2
  await errorOf('refused', net.connect(closed, '127.0.0.1'))
  await errorOf('refused, TLS', tls.connect({ ...TLS_CLIENT, host: '127.0.0.1', port: closed }))
  const request = http.get({ port: closed, host: '127.0.0.1' })
  await errorOf('refused, http', request)
  await fetch(`http://127.0.0.1:${closed}`).catch((error) => {
    seen['refused, fetch'] = [plain(error.stack), plain(error.cause.stack)]
  })
  const two = [4, 4].map((family, i) => ({ address: `127.0.0.${i + 1}`, family }))
  const failing = net.connect({
    ...{ port: closed, host: 'a.test', autoSelectFamily: true },
    lookup: (_host, _options, callback) => callback(null, two),
  })
  await errorOf('all refused', failing)
  try {
    net.connect(70_000)
  } catch (error) {
    seen['a bad port'] = plain(error.stack)
  }

  // A peer that resets.
  server = await listen(
    net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())),
  )
  const reset = net.connect(portOf(server), '127.0.0.1', () => reset.write('x'))
  await errorOf('reset', reset)
  server.close()

  // Agents, twice, so that a socket is reused.
  for (const [name, module, options] of [
    ['http', http, {}],
    ['https', https, TLS_SERVER],
  ]) {
    server = await listen(module.createServer(options, (_, response) => response.end('answer')))
    const agent = new module.Agent({ ...(name === 'https' && TLS_CLIENT), keepAlive: true })
    for (let i = 0; i < 2; i++) {
      const request = follow(
        `${name}: request ${i}`,
        module.get({ host: '127.0.0.1', port: portOf(server), agent }),
      )
      const [response] = await once(request, 'response')
      follow(`${name}: response ${i}`, response)
      response.on('data', () => {
        seen[`${name}: stack ${i}`] = stack()
      })
      await once(response, 'end')
      seen[`${name}: reused ${i}`] = request.reusedSocket
      seen[`${name}: socket ${i}`] = describe(request.socket)
      await turn()
    }
    seen[`${name}: free`] = Object.values(agent.freeSockets).map((sockets) => sockets.length)
    agent.destroy()
    server.close()
  }

  server = await listen(http.createServer((_, response) => response.end('answer')))
  seen.fetch = await (await fetch(`http://127.0.0.1:${portOf(server)}`)).text()
  server.closeAllConnections()
  server.close()

  server = await listen(http2.createServer((_, response) => response.end('answer')))
  const session = follow('http2: session', http2.connect(`http://127.0.0.1:${portOf(server)}`))
  const stream = follow('http2: stream', session.request({ ':path': '/' }))
  stream.on('response', () => {
    seen['http2: stack'] = stack()
  })
  stream.resume()
  await once(stream, 'end')
  session.close()
  await once(session, 'close')
  server.close()

  // What keeps no process alive: a socket that is unref'd, connected and connecting.
  server = await listen(net.createServer((socket) => socket.unref()))
  server.unref()
  const unrefd = net.connect(portOf(server), '127.0.0.1').unref()
  await once(unrefd, 'connect')

  seen.globals = Object.getOwnPropertyNames(globalThis)
  seen.symbols = Object.getOwnPropertySymbols(globalThis).map(String)
  seen.process = process.eventNames().map((event) => [String(event), process.listenerCount(event)])
  seen.active = process.getActiveResourcesInfo().sort()
  seen.prototypes = [net.Socket, net.Server, http.Agent, EventEmitter].map(({ prototype }) =>
    Reflect.ownKeys(prototype).map((key) => [String(key), String(prototype[key] === undefined)]),
  )
  seen.env = Object.keys(process.env).filter((name) => !name.startsWith('TCP_KEEPALIVE_'))
  seen.argv = [process.argv.length, process.title, process.exitCode]
  process.on('exit', (code) => {
    seen.exit = code
    require('node:fs').writeSync(1, JSON.stringify(seen))
  })
}
main()
