/** installDefaults where it matters whose process it is: workers, copies, refusals, servers. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { answerOf, runNode } from './support/child.ts'
import { ALL_SET, KEEPALIVE, USER_TIMEOUT } from './support/settings.ts'
import { buildShim } from './support/shim.ts'

const root = join(__dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'defaults-'))
let shim: string | undefined
/** A second copy of the package, with its own binary. */
const copy = join(folder, 'node_modules', 'tcp-keepalive')

beforeAll(() => {
  shim = buildShim(folder)
  for (const part of ['dist', 'package.json', 'build/Release', 'node_modules/node-gyp-build']) {
    cpSync(join(root, part), join(copy, part), { recursive: true })
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

const PRELUDE = `
const { once } = require('node:events')
const net = require('node:net')
const { createServer, connect } = net
const { subscribe } = require('node:diagnostics_channel')
const keepalive = require('tcp-keepalive')
const { installDefaults, setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = keepalive
const KEEPALIVE = ${JSON.stringify(KEEPALIVE)}
const ALL = { keepalive: KEEPALIVE, userTimeout: ${USER_TIMEOUT} }
const settingsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })
const listen = async (server = createServer(), ...where) => {
  server.on('connection', (socket) => socket.on('error', () => {}))
  server.listen(...(where.length ? where : [0, '127.0.0.1']))
  await once(server, 'listening')
  return server
}
const connected = async (server) => {
  const socket = connect(server.address().port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  return socket
}
const accepted = async (server, event = 'connection') => {
  const [[socket]] = await Promise.all([once(server, event), connected(server)])
  return socket
}
const warnings = []
process.on('warning', ({ code, message }) => warnings.push({ code, message }))
const turn = () => new Promise((resolve) => setTimeout(resolve, 50))
const run = (main) => main().then((answer) => {
  console.log(JSON.stringify(answer))
  process.exit()
})
`
const inProcess = <T>(main: string, env: NodeJS.ProcessEnv = {}) =>
  answerOf<T>(`${PRELUDE}run(async () => {${main}})`, { env })

const NOTHING = { enabled: false, userTimeout: 0 }

describe.concurrent('scope', () => {
  test("'server': what is accepted, and not what connects", async () => {
    const answer = await inProcess<object[]>(`
      installDefaults({ ...ALL, scope: 'server' })
      const server = await listen()
      const [[socket], client] = await Promise.all([once(server, 'connection'), connected(server)])
      socket.setKeepAlive(true, 1000)
      return [settingsOf(socket), settingsOf(client)]
    `)
    expect(answer).toMatchObject([ALL_SET, NOTHING])
  })

  test("'all': both", async () => {
    const answer = await inProcess<object[]>(`
      installDefaults({ ...ALL, scope: 'all' })
      const server = await listen()
      const [[socket], client] = await Promise.all([once(server, 'connection'), connected(server)])
      return [settingsOf(socket), settingsOf(client)]
    `)
    expect(answer).toEqual([ALL_SET, ALL_SET])
  })

  test('http, first request and the next on the same connection', async () => {
    const answer = await inProcess<object[]>(`
      installDefaults({ ...ALL, scope: 'all' })
      const http = require('node:http')
      const seen = []
      const server = await listen(http.createServer({ keepAlive: true }, (request, response) => {
        seen.push(settingsOf(request.socket))
        response.end('here')
      }))
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (let i = 0; i < 2; i++) {
        const [response] = await once(http.get({ port: server.address().port, agent }), 'response')
        await once(response.resume(), 'end')
        await turn()
      }
      return seen
    `)
    expect(answer).toEqual([ALL_SET, ALL_SET])
  })

  test('TLS: the TLSSocket of the secureConnection event', async () => {
    const answer = await inProcess<object>(`
      installDefaults({ ...ALL, scope: 'server' })
      const tls = require('node:tls')
      const psk = Buffer.alloc(16, 7)
      const server = await listen(tls.createServer({ ciphers: 'PSK', pskCallback: () => psk }))
      tls.connect({
        port: server.address().port, host: '127.0.0.1', ciphers: 'PSK',
        checkServerIdentity() {}, pskCallback: () => ({ psk, identity: 'test' }),
      })
      const [socket] = await once(server, 'secureConnection')
      return settingsOf(socket)
    `)
    expect(answer).toEqual(ALL_SET)
  })

  test("a server's own settings win, field by field, set before it listens or later", async () => {
    const answer = await inProcess<object[]>(`
      installDefaults({ ...ALL, scope: 'server' })
      const before = createServer()
      setKeepalive(before, { interval: 21 })
      await listen(before)
      const later = await listen()
      setKeepalive(later, { interval: 21 })
      return [settingsOf(await accepted(before)), settingsOf(await accepted(later))]
    `)
    expect(answer).toEqual([
      { ...ALL_SET, interval: 21 },
      { ...ALL_SET, interval: 21 },
    ])
  })

  test("what reaches a listening server by emit('connection'), under the server's own, until the undo", async () => {
    const answer = await inProcess<object[]>(`
      const front = await listen()
      const undo = installDefaults({ ...ALL, scope: 'server' })
      const plain = await listen()
      const own = createServer()
      setKeepalive(own, { interval: 21 })
      await listen(own)
      const silent = createServer()
      const handed = async (server) => {
        const socket = await accepted(front)
        server.emit('connection', socket)
        return settingsOf(socket)
      }
      const before = [await handed(plain), await handed(own), await handed(silent)]
      undo()
      plain.close()
      await listen(plain)
      return [...before, await handed(plain)]
    `)
    expect(answer).toMatchObject([ALL_SET, { ...ALL_SET, interval: 21 }, NOTHING, NOTHING])
  })

  test('a path is passed over: it listens, it accepts, nothing is said', async () => {
    const path = join(folder, 'path')
    const answer = await inProcess<object>(`
      installDefaults({ ...ALL, scope: 'all' })
      const server = await listen(createServer(), ${JSON.stringify(path)})
      connect(${JSON.stringify(path)})
      await once(server, 'connection')
      await turn()
      return { listening: server.listening, warnings }
    `)
    expect(answer).toEqual({ listening: true, warnings: [] })
  })

  test('the undo: a server that listens then is as it would have been, its keepAlive too', async () => {
    const answer = await inProcess<object[]>(`
      const undo = installDefaults({ ...ALL, scope: 'server' })
      const server = await listen()
      const first = settingsOf(await accepted(server))
      undo()
      server.close()
      await listen(server)
      return [first, settingsOf(await accepted(server)), { keepAlive: server.keepAlive }]
    `)
    expect(answer).toMatchObject([ALL_SET, NOTHING, { keepAlive: false }])
  })

  test("the undo leaves a server's own settings", async () => {
    const answer = await inProcess<object>(`
      const undo = installDefaults({ ...ALL, scope: 'server' })
      const server = createServer()
      setKeepalive(server, { interval: 21 })
      await listen(server)
      undo()
      server.close()
      await listen(server)
      return settingsOf(await accepted(server))
    `)
    expect(answer).toMatchObject({ enabled: true, interval: 21, idle: 7200, userTimeout: 0 })
  })

  for (const policy of ['SCHED_RR', 'SCHED_NONE']) {
    test(`cluster, ${policy}: the worker's connections are set, held, and nothing is said of a path`, async () => {
      const path = join(folder, policy)
      const ended = await runNode(`
        const cluster = require('node:cluster')
        cluster.schedulingPolicy = cluster.${policy}
        cluster.setupPrimary({ exec: ${JSON.stringify(join(__dirname, 'support', 'defaults-worker.cjs'))}, args: [${JSON.stringify(path)}], execArgv: [] })
        const worker = cluster.fork()
        worker.on('message', (message) => {
          if (message.port) require('node:net').connect(message.port, '127.0.0.1').on('error', () => {})
          else {
            console.log(JSON.stringify(message))
            worker.process.kill('SIGKILL')
            process.exit()
          }
        })
      `)
      expect(ended.stderr).toBe('')
      expect(JSON.parse(ended.stdout)).toEqual({ settings: [ALL_SET, ALL_SET], warnings: [] })
    })
  }
})

describe.concurrent('the kernel refuses', () => {
  const REFUSE_USER_TIMEOUT = 'setsockopt 6 18 92'
  const REFUSE_SECOND = 'setsockopt 1 9 1'

  const refusing = <T>(main: string) => {
    if (shim === undefined) throw new Error('no C compiler')
    return inProcess<T>(
      `
      const refused = []
      subscribe('tcp-keepalive:refused', ({ socket, error }) => refused.push([socket.constructor.name, error.code, error.option]))
      ${main}`,
      { LD_PRELOAD: shim },
    )
  }

  test('a connection goes on without the settings, with one warning per code and each published', async (context) => {
    context.skip(shim === undefined, 'no C compiler')
    const answer = await refusing<object>(`
      const server = await listen()
      server.on('connection', (socket) => socket.pipe(socket))
      process.env.REFUSE = '${REFUSE_USER_TIMEOUT}'
      installDefaults(ALL)
      const echoed = []
      const settings = []
      for (let i = 0; i < 3; i++) {
        const socket = await connected(server)
        settings.push(settingsOf(socket))
        socket.write('x')
        echoed.push(String((await once(socket, 'data'))[0]))
        if (i === 1) process.env.REFUSE = '${REFUSE_SECOND}'
      }
      await turn()
      return { echoed, settings, refused, warnings }
    `)
    expect(answer).toMatchObject({
      echoed: ['x', 'x', 'x'],
      settings: [NOTHING, NOTHING, { enabled: false }],
      refused: [
        ['Socket', 'ENOPROTOOPT', 'TCP_USER_TIMEOUT'],
        ['Socket', 'ENOPROTOOPT', 'TCP_USER_TIMEOUT'],
        ['Socket', 'EPERM', 'SO_KEEPALIVE'],
      ],
      warnings: [
        {
          code: 'TCP_KEEPALIVE_REFUSED',
          message: expect.stringMatching(/refused; the connection continues .*ENOPROTOOPT/),
        },
        { code: 'TCP_KEEPALIVE_REFUSED', message: expect.stringContaining('EPERM') },
      ],
    })
  })

  test("what the socket's own code asked for is set all the same, and its refusal is an error", async (context) => {
    context.skip(shim === undefined, 'no C compiler')
    const answer = await refusing<object>(`
      const server = await listen()
      process.env.REFUSE = '${REFUSE_USER_TIMEOUT}'
      installDefaults({ userTimeout: 50_000 })
      const fine = new net.Socket()
      setKeepalive(fine, KEEPALIVE)
      fine.connect(server.address().port, '127.0.0.1')
      await once(fine, 'connect')
      const not = new net.Socket()
      setUserTimeout(not, 60_000)
      not.connect(server.address().port, '127.0.0.1')
      const error = await new Promise((resolve) => not.on('error', resolve))
      return { fine: settingsOf(fine), error: error.code }
    `)
    expect(answer).toEqual({ fine: { ...ALL_SET, userTimeout: 0 }, error: 'ENOPROTOOPT' })
  })

  test('a server listens and accepts without the settings', async (context) => {
    context.skip(shim === undefined, 'no C compiler')
    const answer = await refusing<object>(`
      process.env.REFUSE = '${REFUSE_USER_TIMEOUT}'
      installDefaults({ ...ALL, scope: 'server' })
      const server = await listen()
      const socket = await accepted(server)
      await turn()
      return { refused, settings: settingsOf(socket), destroyed: socket.destroyed, warnings: warnings.length }
    `)
    expect(answer).toMatchObject({
      refused: [['Server', 'ENOPROTOOPT', 'TCP_USER_TIMEOUT']],
      settings: NOTHING,
      destroyed: false,
      warnings: 1,
    })
  })

  test("what reaches a server by emit('connection') goes on without the settings, too", async (context) => {
    context.skip(shim === undefined, 'no C compiler')
    const answer = await refusing<object>(`
      const front = await listen()
      installDefaults({ ...ALL, scope: 'server' })
      const server = await listen()
      const socket = await accepted(front)
      process.env.REFUSE = '${REFUSE_USER_TIMEOUT}'
      server.emit('connection', socket)
      await turn()
      return { refused, settings: settingsOf(socket), destroyed: socket.destroyed, warnings: warnings.length }
    `)
    expect(answer).toMatchObject({
      refused: [['Socket', 'ENOPROTOOPT', 'TCP_USER_TIMEOUT']],
      settings: NOTHING,
      destroyed: false,
      warnings: 1,
    })
  })

  test('unless the server itself was set: then it is destroyed with the refusal, under TLS the TLSSocket', async (context) => {
    context.skip(shim === undefined, 'no C compiler')
    const answer = await refusing<object>(`
      const tls = require('node:tls')
      const front = await listen()
      const errors = []
      for (const server of [createServer(), tls.createServer()]) {
        setUserTimeout(server, 50_000)
        server.on('tlsClientError', ({ option }) => errors.push(option))
        const socket = await accepted(front)
        socket.on('error', ({ option }) => errors.push(option))
        process.env.REFUSE = '${REFUSE_USER_TIMEOUT}'
        server.emit('connection', socket)
        process.env.REFUSE = ''
        await new Promise((resolve) => socket.on('close', resolve))
      }
      return { errors, refused }
    `)
    expect(answer).toEqual({ errors: ['TCP_USER_TIMEOUT', 'TCP_USER_TIMEOUT'], refused: [] })
  })

  test('older connections in the accept queue, and what is refused only then: they live on', async (context) => {
    context.skip(shim === undefined, 'no C compiler')
    const answer = await refusing<object>(`
      const server = await listen()
      // They wait in the queue while this loop does not turn.
      const clients = [connect(server.address().port, '127.0.0.1'), connect(server.address().port, '127.0.0.1')]
      for (const client of clients) client.on('error', () => {})
      await new Promise(process.nextTick)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      installDefaults({ ...ALL, scope: 'server' })
      const sockets = []
      server.on('connection', (socket) => sockets.push(socket))
      // A second listener on the same handle begins to listen now.
      const second = createServer((socket) => sockets.push(socket))
      second.listen(server)
      process.env.REFUSE = '${REFUSE_USER_TIMEOUT}'
      while (sockets.length < 2) await turn()
      await turn()
      return { destroyed: sockets.map((socket) => socket.destroyed), refused }
    `)
    const refusal = ['Socket', 'ENOPROTOOPT', 'TCP_USER_TIMEOUT']
    expect(answer).toEqual({ destroyed: [false, false], refused: [refusal, refusal] })
  })
})

describe.concurrent('environments', () => {
  test('a worker has its own: the installs of the main thread are not its', async () => {
    const answer = await inProcess<object>(`
      const { Worker } = require('node:worker_threads')
      installDefaults(ALL)
      const server = await listen()
      const inWorker = async (install) => {
        const worker = new Worker(\`
          const { parentPort, workerData } = require('node:worker_threads')
          const { installDefaults, getKeepalive, getUserTimeout } = require('tcp-keepalive')
          if (workerData.install) installDefaults({ keepalive: { idle: 71 }, userTimeout: 51_000 })
          const socket = require('node:net').connect(workerData.port, '127.0.0.1', () => {
            parentPort.postMessage({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })
            socket.destroy()
          })
        \`, { eval: true, workerData: { port: server.address().port, install } })
        const [[settings]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
        return settings
      }
      const workers = [await inWorker(false), await inWorker(true)]
      return { workers, main: settingsOf(await connected(server)) }
    `)
    expect(answer).toMatchObject({
      workers: [NOTHING, { enabled: true, idle: 71, userTimeout: 51_000 }],
      main: ALL_SET,
    })
  })

  const client = `
    const http = require('node:http')
    const { connect: connectEarly, Socket: EarlySocket } = require('node:net')
  `
  for (const [when, before, after] of [
    ['before', client, ''],
    ['after', '', client],
  ]) {
    test(`installed ${when === 'before' ? 'after' : 'before'} the driver was imported`, async () => {
      const answer = await answerOf<object>(`
        ${before}
        const keepalive = require('tcp-keepalive')
        keepalive.installDefaults({ keepalive: ${JSON.stringify(KEEPALIVE)}, userTimeout: ${USER_TIMEOUT} })
        ${after}
        const server = http.createServer((_, response) => response.end()).listen(0, () => {
          const { port } = server.address()
          const plain = new EarlySocket()
          plain.connect(port, '127.0.0.1', () => {
            const request = http.get({ port, host: '127.0.0.1' }, () => {
              const settings = [plain, request.socket].map((socket) => ({
                ...keepalive.getKeepalive(socket), userTimeout: keepalive.getUserTimeout(socket),
              }))
              console.log(JSON.stringify(settings))
              process.exit()
            })
          })
        })
      `)
      expect(answer).toEqual([ALL_SET, ALL_SET])
    })
  }
})

describe.concurrent("a program's own setKeepAlive with an interval or a count", () => {
  const EXPLICIT = {
    'a number each': 'true, 5000, 7000, 9',
    'an object': '{ enable: true, initialDelay: 5000, interval: 7000, count: 9 }',
  }
  const takesThem = Socket.prototype.setKeepAlive.length > 2
  const reason = takesThem ? '' : ' (skipped: the setKeepAlive of this Node has neither)'
  for (const [form, call] of Object.entries(EXPLICIT)) {
    test.skipIf(!takesThem)(`${form}: wins over defaults${reason}`, async () => {
      const answer = await inProcess<object[]>(`
        installDefaults({ ...ALL, scope: 'all' })
        const server = await listen()
        const [[socket], client] = await Promise.all([once(server, 'connection'), connected(server)])
        const seen = []
        for (const end of [socket, client]) {
          end.setKeepAlive(${call})
          seen.push(settingsOf(end))
          // From now on the program's own calls are all obeyed.
          end.setKeepAlive(true, 6000)
          seen.push(settingsOf(end).idle)
        }
        return seen
      `)
      const own = { enabled: true, idle: 5, interval: 7, count: 9, userTimeout: USER_TIMEOUT }
      expect(answer).toEqual([own, 6, own, 6])
    })

    test.skipIf(!takesThem)(`${form}: not over what a setter has set${reason}`, async () => {
      const answer = await inProcess<object[]>(`
        installDefaults({ keepalive: { idle: 81 }, userTimeout: ALL.userTimeout, scope: 'all' })
        const server = createServer()
        setKeepalive(server, KEEPALIVE)
        await listen(server)
        const [[socket], client] = await Promise.all([once(server, 'connection'), connected(server)])
        setKeepalive(client, KEEPALIVE)
        for (const end of [socket, client]) end.setKeepAlive(${call})
        return [settingsOf(socket), settingsOf(client)]
      `)
      expect(answer).toEqual([ALL_SET, ALL_SET])
    })
  }

  test('setKeepAlive(true, delay), as agents call it, does not win over defaults', async () => {
    const answer = await inProcess<object[]>(`
      installDefaults({ ...ALL, scope: 'all' })
      const server = await listen()
      const [[socket], client] = await Promise.all([once(server, 'connection'), connected(server)])
      for (const end of [socket, client]) end.setKeepAlive(true, 5000)
      return [settingsOf(socket), settingsOf(client)]
    `)
    expect(answer).toEqual([ALL_SET, ALL_SET])
  })
})

describe.concurrent('two copies of the package in one process', () => {
  const both = (main: string) =>
    inProcess<unknown>(`
      const other = require(${JSON.stringify(copy)})
      if (other.installDefaults === installDefaults) throw new Error('one copy')
      ${main}
    `)

  test('both install: the later install wins, field by field, and holds', async () => {
    const answer = await both(`
      installDefaults(ALL)
      other.installDefaults({ keepalive: { idle: 71 } })
      const server = await listen()
      const socket = await connected(server)
      socket.setKeepAlive(true, 1000)
      const first = settingsOf(socket)
      socket.setKeepAlive(false)
      const off = settingsOf(socket)
      socket.setKeepAlive(true, 5000)
      return [first, off, settingsOf(socket)]
    `)
    expect(answer).toMatchObject([
      { ...ALL_SET, idle: 71 },
      { ...ALL_SET, idle: 71, enabled: false },
      { enabled: true, idle: 5 },
    ])
  })

  test('both bound the connect: the later bound, and afterwards the later user timeout', async () => {
    const answer = await both(`
      installDefaults({ deadPeerTimeout: { ms: 60_000, slowReader: 'end' } })
      other.installDefaults({ deadPeerTimeout: { ms: 20_000, slowReader: 'end' } })
      const server = await listen()
      const socket = connect(server.address().port, '127.0.0.1')
      await once(socket, 'connectionAttempt')
      await new Promise(process.nextTick)
      const connecting = getUserTimeout(socket)
      await once(socket, 'connect')
      const { connectTimeout, userTimeout } = keepalive.planDeadPeerTimeout(20_000, { slowReader: 'end' })
      while (getUserTimeout(socket) !== userTimeout) await turn()
      return connecting === connectTimeout
    `)
    expect(answer).toBe(true)
  })

  test('an undo of one leaves the other', async () => {
    const answer = await both(`
      const undo = installDefaults(ALL)
      const undoOther = other.installDefaults({ keepalive: { idle: 71 }, userTimeout: 51_000 })
      const server = await listen()
      undoOther()
      const first = settingsOf(await connected(server))
      undo()
      return [first, settingsOf(await connected(server))]
    `)
    expect(answer).toMatchObject([ALL_SET, NOTHING])
  })

  test('a dead peer is one error, and the process ends', async () => {
    const answer = await both(`
      const { unplug } = require('tcp-keepalive/testing')
      installDefaults({ deadPeerTimeout: 2500 })
      other.installDefaults({ deadPeerTimeout: 3000 })
      const server = await listen()
      const socket = await connected(server)
      const errors = []
      socket.on('error', ({ code }) => errors.push(code))
      unplug(socket)
      await new Promise((resolve) => socket.on('close', resolve))
      await turn()
      return errors
    `)
    expect(answer).toEqual(['ETIMEDOUT'])
  })

  test('accepted sockets of one server: the later install wins, field by field, and holds', async () => {
    const answer = await both(`
      installDefaults({ ...ALL, scope: 'server' })
      other.installDefaults({ keepalive: { idle: 71 }, userTimeout: 51_000, scope: 'server' })
      const server = await listen()
      const socket = await accepted(server)
      socket.setKeepAlive(true, 1000)
      return settingsOf(socket)
    `)
    expect(answer).toEqual({ ...ALL_SET, idle: 71, userTimeout: 51_000 })
  })
})
