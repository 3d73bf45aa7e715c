/**
 * Callers who pass what they were given: forged and foreign objects, accessors that throw
 * or change their mind, a polluted Object.prototype. Refused or harmless, each.
 */
import { EventEmitter, once } from 'node:events'
import { Agent } from 'node:http'
import { type AddressInfo, connect, createServer, Server, Socket } from 'node:net'
import { runInNewContext } from 'node:vm'
import {
  detectionTime,
  getKeepalive,
  getTcpInfo,
  getUserTimeout,
  installDefaults,
  isDeadPeerError,
  type KeepaliveOptions,
  planDeadPeerTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
  type Target,
} from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { connectedPair } from './support/pair.ts'
import { settingsOf } from './support/settings.ts'

const handleOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle

/** Everything of the public API that takes a target or a socket. */
const SETTERS: Record<string, (target: never) => unknown> = {
  setKeepalive: (target) => setKeepalive(target, { idle: 60, interval: 10, count: 3 }),
  setUserTimeout: (target) => setUserTimeout(target, 90_000),
  setDeadPeerTimeout: (target) => setDeadPeerTimeout(target, 20_000),
}
const GETTERS: Record<string, (socket: never) => unknown> = {
  getKeepalive,
  getUserTimeout,
  getTcpInfo,
  detectionTime,
  unplug,
}
const ALL = { ...SETTERS, ...GETTERS }

describe('a forged object never gets at a descriptor', () => {
  /** Each names the descriptor of a real connection, which has to stay as it is. */
  const FORGERIES: Record<string, (real: Socket) => unknown> = {
    'a number': (real) => handleOf(real).fd,
    'a plain object': (real) => ({ _handle: { fd: handleOf(real).fd }, fd: handleOf(real).fd }),
    'an object that looks like a Socket': (real) => ({
      constructor: Socket,
      connecting: false,
      destroyed: false,
      _handle: handleOf(real),
    }),
    'an heir of Socket with a handle of its own making': (real) =>
      Object.assign(Object.create(Socket.prototype), { _handle: { fd: handleOf(real).fd } }),
    "the same, the handle an heir of Node's": (real) =>
      Object.assign(Object.create(Socket.prototype), {
        _handle: Object.create(Object.getPrototypeOf(handleOf(real))),
      }),
    'the same, the handle its own parent': (real) => {
      const handle: Record<string, unknown> = { fd: handleOf(real).fd }
      handle._parent = handle
      return Object.assign(Object.create(Socket.prototype), { _handle: handle })
    },
    'an heir of Server': (real) =>
      Object.assign(Object.create(Server.prototype), {
        _handle: { fd: handleOf(real).fd, onconnection() {} },
      }),
    'an heir of Agent': (real) =>
      Object.assign(Object.create(Agent.prototype), {
        sockets: { a: [{ _handle: handleOf(real) }] },
      }),
    'what calls itself an http2 session': (real) => {
      class ClientHttp2Session extends EventEmitter {
        socket = { off: () => ({ _handle: handleOf(real) }) }
      }
      return new ClientHttp2Session()
    },
    'a constructor whose instanceof always says yes': (real) => {
      class Liar {
        static [Symbol.hasInstance] = () => true
        _handle = handleOf(real)
      }
      return new Liar()
    },
  }

  for (const [name, forge] of Object.entries(FORGERIES)) {
    test(`${name}: refused by every function`, async () => {
      await using pair = await connectedPair()
      const before = settingsOf(pair.client)
      const forged = forge(pair.client)
      for (const [call, use] of Object.entries(ALL)) {
        // An agent's sockets are told by their own 'error'; this one has none.
        if (name === 'an heir of Agent' && call in SETTERS) continue
        expect(() => use(forged as never), call).toThrow()
      }
      if (name === 'an heir of Agent') {
        for (const use of Object.values(SETTERS)) use(forged as never)
      }
      expect(settingsOf(pair.client)).toEqual(before)
      // Nor is it unplugged.
      pair.accepted.write('x')
      await once(pair.client, 'data')
    })
  }

  test('accessors and proxies on a socket are not touched: its dead peer is reported all the same', async () => {
    await using pair = await connectedPair()
    const { client } = pair
    let calls = 0
    const get = () => {
      calls++
      throw new Error('of the program')
    }
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    Object.defineProperties(client, { parser: { get }, lazy: { get }, upstream: { value: proxy } })
    setDeadPeerTimeout(client, 2000)
    unplug(client)
    const error = once(client.resume(), 'error')
    client.write('x')
    expect((await error)[0]).toMatchObject({ code: 'ETIMEDOUT', syscall: 'read' })
    expect(calls).toBe(0)
  })

  test('a proxy of a socket is that socket', async () => {
    await using pair = await connectedPair()
    setKeepalive(new Proxy(pair.client, {}), { idle: 60 })
    expect(getKeepalive(pair.client)).toMatchObject({ enabled: true, idle: 60 })
    const { proxy, revoke } = Proxy.revocable(pair.client, {})
    revoke()
    for (const [call, use] of Object.entries(ALL)) {
      expect(() => use(proxy as never), call).toThrow(TypeError)
    }
  })
})

describe('options that are more than data', () => {
  const boom = () => {
    throw new Error('boom')
  }

  test('an accessor that throws: its error is the caller’s, and nothing is set', async () => {
    await using pair = await connectedPair()
    const before = settingsOf(pair.client)
    const thrower = (field: string) =>
      Object.defineProperty({}, field, { get: boom, enumerable: true })
    for (const field of ['idle', 'interval', 'count']) {
      expect(() => setKeepalive(pair.client, thrower(field))).toThrow('boom')
    }
    expect(() => setDeadPeerTimeout(pair.client, 20_000, thrower('slowReader'))).toThrow('boom')
    for (const field of ['keepalive', 'userTimeout', 'deadPeerTimeout', 'scope', 'filter']) {
      expect(() => installDefaults(thrower(field))).toThrow('boom')
    }
    expect(() => setKeepalive(pair.client, new Proxy({}, { ownKeys: boom }))).toThrow('boom')
    expect(() => setKeepalive(pair.client, new Proxy({}, { get: boom }))).toThrow('boom')
    expect(settingsOf(pair.client)).toEqual(before)
  })

  test('an accessor that changes its mind: what was checked is what is set', async () => {
    await using pair = await connectedPair()
    let reads = 0
    const fickle = { get: () => (reads++ === 0 ? 60 : 2 ** 40) } as const
    setKeepalive(pair.client, Object.defineProperty({}, 'idle', { ...fickle, enumerable: true }))
    expect(getKeepalive(pair.client).idle).toBe(60)
    expect(reads).toBe(1)

    let words = 0
    const { slowReader } = planDeadPeerTimeout(20_000, {
      get slowReader() {
        return (words++ === 0 ? 'end' : 'whatever') as 'end'
      },
    })
    expect(slowReader).toBe('end')
  })

  test('an accessor that destroys the socket: ERR_SOCKET_CLOSED', async () => {
    await using pair = await connectedPair()
    const options = {
      get idle() {
        pair.client.destroy()
        return 60
      },
    }
    expect(() => setKeepalive(pair.client, options)).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_CLOSED' }),
    )
  })

  test('an accessor that calls the setter again: the outer call has the last word', async () => {
    await using pair = await connectedPair()
    const options = {
      get idle() {
        setKeepalive(pair.client, { idle: 70, interval: 20 })
        return 60
      },
    }
    setKeepalive(pair.client, options)
    expect(getKeepalive(pair.client)).toMatchObject({ idle: 60, interval: 20 })
  })

  test('a filter of installDefaults that destroys the socket it is asked about', async () => {
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const undo = installDefaults({
      userTimeout: 90_000,
      filter: (socket) => {
        socket.destroy()
        return true
      },
    })
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const errors: Error[] = []
    socket.on('error', (error) => errors.push(error))
    await once(socket, 'close')
    undo()
    server.close()
    expect(errors).toEqual([])
  })
})

describe('objects of another realm', () => {
  test('plain options are options, and what is no plain object is refused as here', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, runInNewContext('({ idle: 60, interval: 10 })'))
    expect(getKeepalive(pair.client)).toMatchObject({ idle: 60, interval: 10 })
    for (const text of [
      '[60]',
      'new Map([["idle", 60]])',
      '({ idle: "60" })',
      '({ idel: 60 })',
      '(() => {})',
    ]) {
      const options = runInNewContext(text) as KeepaliveOptions
      expect(() => setKeepalive(pair.client, options), text).toThrow(TypeError)
    }
    for (const text of ['({ _handle: { fd: 1 } })', '1', 'new Proxy({}, {})']) {
      const target = runInNewContext(text) as Target
      expect(() => setKeepalive(target, true), text).toThrow(TypeError)
    }
    expect(getKeepalive(pair.client)).toMatchObject({ idle: 60, interval: 10 })
  })

  test('an error is judged by what it says', () => {
    const error = runInNewContext(
      "Object.assign(new Error(), { errno: -110, code: 'ETIMEDOUT', syscall: 'read' })",
    )
    expect(isDeadPeerError(error)).toBe(process.platform === 'linux')
  })
})

describe.concurrent('a polluted Object.prototype', () => {
  /** In a process of its own, in which everything happens before and after the pollution. */
  const polluted = (pollution: string, main: string) =>
    answerOf<object>(`
      const { once } = require('node:events')
      const net = require('node:net')
      const http = require('node:http')
      const library = require('tcp-keepalive')
      const { setKeepalive, setUserTimeout, setDeadPeerTimeout, getKeepalive, getUserTimeout } = library
      const server = net.createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1')
      const opened = async (prepare = () => {}) => {
        const socket = new net.Socket()
        prepare(socket)
        socket.connect(server.address().port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      }
      const main = async () => {
        await once(server, 'listening')
        ${pollution}
        return (async () => {${main}})()
      }
      main().then((answer) => {
        process.stdout.write(JSON.stringify(answer))
        process.exit()
      })
    `)

  test('idle, interval, count: are not meant', async () => {
    const answer = await polluted(
      'for (const field of ["idle", "interval", "count"]) Object.prototype[field] = 5',
      `
      const socket = await opened()
      const { idle, count } = getKeepalive(socket)
      setKeepalive(socket, { interval: 10 })
      const after = getKeepalive(socket)
      return { idle: after.idle === idle, count: after.count === count, interval: after.interval }
      `,
    )
    expect(answer).toEqual({ idle: true, count: true, interval: 10 })
  })

  test("slowReader: 'end' would end live peers, and is not meant", async () => {
    const answer = await polluted(
      "Object.prototype.slowReader = 'end'; Object.prototype.ms = 2000",
      `
      const undo = library.installDefaults({ deadPeerTimeout: { ms: 20_000 } })
      const socket = await opened()
      undo()
      return {
        plans: [undefined, {}].map((options) => library.planDeadPeerTimeout(20_000, options).slowReader),
        userTimeout: getUserTimeout(socket),
      }
      `,
    )
    expect(answer).toEqual({ plans: ['keep', 'keep'], userTimeout: 0 })
  })

  test('keepalive, userTimeout, deadPeerTimeout, scope, filter: are not meant', async () => {
    const answer = await polluted(
      `Object.assign(Object.prototype, { keepalive: true, userTimeout: 5000, deadPeerTimeout: 5000, scope: 'all', filter: () => false })`,
      `
      const undo = library.installDefaults({ keepalive: { idle: 61 } })
      const socket = await opened()
      undo()
      return { idle: getKeepalive(socket).idle, userTimeout: getUserTimeout(socket) }
      `,
    )
    expect(answer).toEqual({ idle: 61, userTimeout: 0 })
  })

  // Every property descriptor inherits them.
  const DESCRIPTOR = 'Object.assign(Object.prototype, { get() { return 7 }, set() {} })'
  const PROGRAM = `
    const before = await opened((socket) => { setKeepalive(socket, { idle: 60 }); setDeadPeerTimeout(socket, 20_000) })
    setKeepalive(before, { idle: 61 })
    const after = await opened()
    setKeepalive(after, { idle: 62 })
    after.write('x')
    const [echo] = await once(after, 'data')
    const target = net.createServer()
    setKeepalive(target, { idle: 63 })
    target.listen(0, '127.0.0.1')
    await once(target, 'listening')
    net.connect(target.address().port, '127.0.0.1').on('error', () => {})
    const [accepted] = await once(target, 'connection')
    const agent = new http.Agent({ keepAlive: true })
    setKeepalive(agent, { idle: 64 })
    const undo = library.installDefaults({ deadPeerTimeout: 30_000 })
    const given = await opened()
    undo()
    let refused
    try { setKeepalive(after, { idle: 0 }) } catch ({ code }) { refused = code }
    return {
      idle: [before, after, accepted].map((socket) => getKeepalive(socket).idle),
      given: getKeepalive(given).enabled,
      echo: String(echo),
      refused,
    }
  `
  const WORKED = {
    idle: [61, 62, 63],
    given: true,
    echo: 'x',
    refused: 'ERR_OUT_OF_RANGE',
  }

  for (const [when, used] of Object.entries({
    'before anything is loaded': '',
    'before the first connection': 'library.support.watch',
    'after it': 'await opened((socket) => setKeepalive(socket, { idle: 60 }))',
  })) {
    test(`get and set, which every property descriptor inherits: ${when}`, async () => {
      expect(await polluted(`${used};${DESCRIPTOR}`, PROGRAM)).toEqual(WORKED)
    })
  }
})
