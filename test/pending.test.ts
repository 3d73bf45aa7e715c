/** A socket that has no descriptor yet: checked at once, set the moment there is one. */

import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import {
  type AddressInfo,
  connect,
  createServer,
  type LookupFunction,
  type Server,
  Socket,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
} from 'node:tls'
import {
  getKeepalive,
  getUserTimeout,
  isDeadPeerError,
  planDeadPeerTimeout,
  SocketOptionError,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { connectedPair } from './support/pair.ts'
import { Stopwatch } from './support/stopwatch.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

const KEEPALIVE = { idle: 60, interval: 10, count: 3 }

function setAll(socket: Socket): void {
  setKeepalive(socket, KEEPALIVE)
  setUserTimeout(socket, 90_000)
}

function expectAll(socket: Socket): void {
  expect(getKeepalive(socket)).toEqual({ enabled: true, ...KEEPALIVE })
  expect(getUserTimeout(socket)).toBe(90_000)
}

/** A listener on loopback that is closed, with its connections, at the end of the block. */
async function listening(host: string, port = 0, tls = false) {
  const server: Server = tls ? createTlsServer(tlsServerOptions) : createServer()
  const accepted = new Set<Socket>()
  server.on('connection', (socket) => accepted.add(socket.on('error', () => {})))
  server.on('tlsClientError', () => {})
  server.listen(port, host)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of accepted) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** A look-up that takes its time and gives these addresses. */
const lookup =
  (...addresses: string[]): LookupFunction =>
  (_host, options, callback) => {
    const all: LookupAddress[] = addresses.map((address) => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }))
    setTimeout(() => {
      if (options.all) callback(null, all)
      else callback(null, all[0]?.address ?? '', all[0]?.family)
    }, 20)
  }

describe.concurrent('set before the connection is established, in force afterwards', () => {
  for (const family of [4, 6, 'mapped'] as const) {
    test(`new net.Socket(), then connect (${family})`, async () => {
      await using pair = await connectedPair({ family, prepare: setAll })
      expectAll(pair.client)
    })
  }

  test('a connect to an address, on the same tick', async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect(server.port, '127.0.0.1')
    setAll(socket)
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('a connect to an address, on the next tick, when the descriptor exists', async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect(server.port, '127.0.0.1')
    await new Promise(process.nextTick)
    expect(socket.connecting).toBe(true)
    setAll(socket)
    expectAll(socket)
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('while the name is looked up', async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect({ port: server.port, host: 'a.test', lookup: lookup('127.0.0.1') })
    setAll(socket)
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('with a localAddress, where the descriptor exists before the attempt', async () => {
    await using server = await listening('127.0.0.1')
    const socket = new Socket()
    setAll(socket)
    socket.connect({ port: server.port, host: '127.0.0.1', localAddress: '127.0.0.1' })
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test("in Node's own 'lookup' and 'connectionAttempt' events", async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect({ port: server.port, host: 'a.test', lookup: lookup('127.0.0.1') })
    socket.on('lookup', () => setKeepalive(socket, KEEPALIVE))
    socket.on('connectionAttempt', () => setUserTimeout(socket, 90_000))
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test("over Node's own keepAlive option, which is written at the connect as well", async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect({
      port: server.port,
      host: '127.0.0.1',
      keepAlive: true,
      keepAliveInitialDelay: 5000,
    })
    setAll(socket)
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('when the same socket is connected anew', async () => {
    await using server = await listening('127.0.0.1')
    const socket = new Socket()
    setAll(socket)
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.destroy()
    await once(socket, 'close')
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })
})

describe.concurrent('several addresses', () => {
  test('the first refuses: the one that connects is set', async () => {
    await using server = await listening('127.0.0.1')
    const failed: string[] = []
    const socket = connect({
      port: server.port,
      host: 'a.test',
      autoSelectFamily: true,
      lookup: lookup('::1', '127.0.0.1'),
    })
    socket.on('connectionAttemptFailed', (address) => failed.push(address))
    setAll(socket)
    await once(socket, 'connect')
    expect(failed).toEqual(['::1'])
    expect(socket.remoteAddress).toBe('127.0.0.1')
    expectAll(socket)
    socket.destroy()
  })

  test("the first outlasts Node's attempt timeout: the one that connects is set", async () => {
    const silent = await silentPort()
    await using _server = await listening('127.0.0.2', silent.port)
    const late: string[] = []
    const socket = connect({
      port: silent.port,
      host: 'a.test',
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 300,
      lookup: lookup('127.0.0.1', '127.0.0.2'),
    })
    socket.on('connectionAttemptTimeout', (address) => late.push(address))
    setAll(socket)
    await once(socket, 'connect')
    expect(late).toEqual(['127.0.0.1'])
    expect(socket.remoteAddress).toBe('127.0.0.2')
    expectAll(socket)
    socket.destroy()
    await silent.close()
  })

  test('each attempt has the user timeout, so the kernel ends the first', async () => {
    const silent = await silentPort()
    await using _server = await listening('127.0.0.2', silent.port)
    const failed: unknown[] = []
    const socket = connect({
      port: silent.port,
      host: 'a.test',
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 20_000,
      lookup: lookup('127.0.0.1', '127.0.0.2'),
    })
    socket.on('connectionAttemptFailed', (_address, _port, _family, error) => failed.push(error))
    setUserTimeout(socket, 1500)
    await once(socket, 'connect')
    expect(failed).toMatchObject([{ code: 'ETIMEDOUT', syscall: 'connect', address: '127.0.0.1' }])
    expect(failed.every(isDeadPeerError)).toBe(true)
    expect(getUserTimeout(socket)).toBe(1500)
    socket.destroy()
    await silent.close()
  })

  test('TLS: the attempt that connects is set, though it gets a handle of its own', async () => {
    await using server = await listening('127.0.0.1', 0, true)
    const failed: string[] = []
    // Node takes autoSelectFamily here as well; its types do not say so.
    const options: ConnectionOptions = Object.assign(
      { ...tlsClientOptions, port: server.port, host: 'a.test' },
      { autoSelectFamily: true, lookup: lookup('::1', '127.0.0.1') },
    )
    const socket = connectTls(options)
    socket.on('connectionAttemptFailed', (address) => failed.push(address))
    setAll(socket)
    await once(socket, 'secureConnect')
    expect(failed).toEqual(['::1'])
    expectAll(socket)
    socket.destroy()
  })
})

describe.concurrent('TLS', () => {
  test('tls.connect', async () => {
    await using pair = await connectedPair({ tls: true, prepare: setAll })
    expectAll(pair.client)
  })

  test('tls.connect while the name is looked up', async () => {
    await using server = await listening('127.0.0.1', 0, true)
    const socket = connectTls({
      ...tlsClientOptions,
      port: server.port,
      host: 'a.test',
      lookup: lookup('127.0.0.1'),
    })
    setAll(socket)
    await once(socket, 'secureConnect')
    expectAll(socket)
    socket.destroy()
  })

  for (const which of ['the TLS socket', 'the socket below'] as const) {
    test(`tls.connect over a socket that is connecting: set ${which}`, async () => {
      await using server = await listening('127.0.0.1', 0, true)
      const below = connect({ port: server.port, host: 'a.test', lookup: lookup('127.0.0.1') })
      const above = connectTls({ ...tlsClientOptions, socket: below })
      setAll(which === 'the TLS socket' ? above : below)
      await once(above, 'secureConnect')
      expectAll(above)
      expectAll(below)
      above.destroy()
    })
  }

  for (const made of ['net.connect', 'new net.Socket()'] as const) {
    test(`both of them, each its part (${made})`, async () => {
      await using server = await listening('127.0.0.1', 0, true)
      const below = new Socket()
      if (made === 'net.connect') below.connect(server.port, '127.0.0.1')
      setUserTimeout(below, 70_000)
      if (made !== 'net.connect') below.connect(server.port, '127.0.0.1')
      const above = connectTls({ ...tlsClientOptions, socket: below })
      setKeepalive(above, KEEPALIVE)
      await once(above, 'secureConnect')
      expect(getUserTimeout(above)).toBe(70_000)
      expect(getKeepalive(above)).toEqual({ enabled: true, ...KEEPALIVE })
      above.destroy()
    })
  }

  test('between connect and handshake', async () => {
    await using server = await listening('127.0.0.1', 0, true)
    const socket = connectTls({ ...tlsClientOptions, port: server.port, host: '127.0.0.1' })
    await once(socket, 'connect')
    setAll(socket)
    await once(socket, 'secureConnect')
    expectAll(socket)
    socket.destroy()
  })

  test('laid over a socket that was set', async () => {
    await using server = await listening('127.0.0.1', 0, true)
    const below = connect(server.port, '127.0.0.1')
    setAll(below)
    await once(below, 'connect')
    const above = connectTls({ ...tlsClientOptions, socket: below })
    await once(above, 'secureConnect')
    expectAll(above)
    above.destroy()
  })
})

describe('several calls merge', () => {
  const merged = async (...calls: ((socket: Socket) => void)[]) => {
    await using pair = await connectedPair({
      prepare: (socket) => {
        for (const call of calls) call(socket)
      },
    })
    return { ...getKeepalive(pair.client), userTimeout: getUserTimeout(pair.client) }
  }

  test('each field from the call that names it', async () => {
    expect(
      await merged(
        (socket) => setKeepalive(socket, { idle: 60 }),
        (socket) => setUserTimeout(socket, 90_000),
        (socket) => setKeepalive(socket, { interval: 10, idle: undefined }),
        (socket) => setKeepalive(socket, { count: 3 }),
      ),
    ).toEqual({ enabled: true, ...KEEPALIVE, userTimeout: 90_000 })
  })

  test('the last word on a field counts', async () => {
    expect(
      await merged(
        setAll,
        (socket) => setKeepalive(socket, { idle: 120 }),
        (socket) => setUserTimeout(socket, 0),
        (socket) => setKeepalive(socket, false),
      ),
    ).toEqual({ enabled: false, ...KEEPALIVE, idle: 120, userTimeout: 0 })
  })

  test('calls before and after the connect', async () => {
    await using pair = await connectedPair({
      prepare: (socket) => setKeepalive(socket, { idle: 60 }),
    })
    setKeepalive(pair.client, { count: 3 })
    expect(getKeepalive(pair.client)).toMatchObject({ enabled: true, idle: 60, count: 3 })
  })

  test('what is refused at once leaves the earlier calls alone', async () => {
    await using pair = await connectedPair({
      prepare: (socket) => {
        setAll(socket)
        expect(() => setKeepalive(socket, { idle: 0, count: 9 })).toThrow(RangeError)
        expect(() => setUserTimeout(socket, -1)).toThrow(RangeError)
      },
    })
    expectAll(pair.client)
  })
})

/** The sweep's next look takes back what has bounded the connect: within a second. */
async function userTimeoutBecomes(socket: Socket, wanted: number): Promise<void> {
  const watch = new Stopwatch()
  while (getUserTimeout(socket) !== wanted) await sleep(20)
  watch.stop()
  watch.expectWithin(0, 1)
}

describe.concurrent('the user timeout that bounds the connect is replaced once the connection is established', () => {
  const BOUND = planDeadPeerTimeout(60_000).connectTimeout

  /** Set as soon as there is a descriptor; what is seen then, and when it is connected. */
  async function bounded(prepare: (socket: Socket) => void = () => {}) {
    await using server = await listening('127.0.0.1')
    const socket = connect(server.port, '127.0.0.1')
    const connected = once(socket, 'connect')
    await new Promise(process.nextTick)
    setDeadPeerTimeout(socket, 60_000)
    const connecting = getUserTimeout(socket)
    const listeners = socket.listenerCount('connect')
    prepare(socket)
    await connected
    await userTimeoutBecomes(socket, 0)
    const { enabled } = getKeepalive(socket)
    socket.destroy()
    return { connecting, enabled, listeners }
  }

  test('without a listener that anybody sees', async () => {
    expect(await bounded()).toEqual({ connecting: BOUND, enabled: true, listeners: 1 })
  })

  test('to what was set since then', async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect(server.port, '127.0.0.1')
    setDeadPeerTimeout(socket, 60_000)
    await once(socket, 'connect')
    setUserTimeout(socket, 70_000)
    expect(getUserTimeout(socket)).toBe(70_000)
    // More than one look.
    await sleep(1200)
    expect(getUserTimeout(socket)).toBe(70_000)
    socket.destroy()
  })

  test('also where setKeepAlive(true) came in between', async () => {
    const { enabled } = await bounded((socket) => socket.setKeepAlive(true, 5000))
    expect(enabled).toBe(true)
  })

  test('also where setKeepAlive(false) has ended the hold', async () => {
    const { enabled } = await bounded((socket) => socket.setKeepAlive(false))
    expect(enabled).toBe(false)
  })

  test('and what had waited for the end of a connect that failed is over', async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect(1, '127.0.0.1')
    const refused = once(socket, 'error')
    await new Promise((resolve) => process.nextTick(resolve))
    setDeadPeerTimeout(socket, 60_000)
    socket.setKeepAlive(false)
    await refused
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    await userTimeoutBecomes(socket, 0)
    expect(socket.destroyed).toBe(false)
    socket.destroy()
  })

  test('under TLS over a connecting socket, where setKeepAlive(false) was called: Node leaves it off', async () => {
    await using server = await listening('127.0.0.1', 0, true)
    const below = connect(server.port, '127.0.0.1')
    const above = connectTls({ ...tlsClientOptions, socket: below })
    setDeadPeerTimeout(above, 60_000)
    await new Promise((resolve) => process.nextTick(() => process.nextTick(resolve)))
    expect(getKeepalive(above).enabled).toBe(true)
    above.setKeepAlive(false)
    await once(above, 'secureConnect')
    expect(getKeepalive(above).enabled).toBe(false)
    await userTimeoutBecomes(above, 0)
    above.destroy()
  })

  test('where somebody has a setKeepAlive of his own on the handle', async () => {
    await using server = await listening('127.0.0.1')
    const socket = connect(server.port, '127.0.0.1')
    const { _handle: handle } = socket as unknown as { _handle: Record<string, unknown> }
    let called = 0
    handle.setKeepAlive = () => {
      called++
      return 0
    }
    setDeadPeerTimeout(socket, 60_000)
    await once(socket, 'connect')
    await userTimeoutBecomes(socket, 0)
    expect(called).toBe(0)
    socket.destroy()
  })

  test('a plan that is undone while connecting leaves nothing, nor does Node turn keepalive on', async () => {
    const { enabled } = await bounded((socket) => setDeadPeerTimeout(socket, 0))
    expect(enabled).toBe(false)
  })
})

describe.concurrent('until there is a descriptor', () => {
  const refusal = expect.objectContaining({
    code: 'ERR_SOCKET_NOT_CONNECTED',
    message: expect.stringContaining("'connect'"),
  })
  const expectNoGetters = (socket: Socket) => {
    expect(() => getKeepalive(socket)).toThrow(refusal)
    expect(() => getUserTimeout(socket)).toThrow(refusal)
  }

  test('the getters throw: new net.Socket()', () => {
    const socket = new Socket()
    expectNoGetters(socket)
    setAll(socket)
    expectNoGetters(socket)
  })

  test('the getters throw: a connect on this very tick', () => {
    const socket = connect(1, '127.0.0.1').on('error', () => {})
    expectNoGetters(socket)
    socket.destroy()
  })

  test('the getters throw: while a name is looked up, plain and TLS', () => {
    const where = { port: 1, host: 'a.test', lookup: () => {} }
    for (const socket of [connect(where), connectTls({ ...tlsClientOptions, ...where })]) {
      setAll(socket)
      expectNoGetters(socket)
      socket.on('error', () => {}).destroy()
    }
  })

  test('a failed look-up is reported as ever', async () => {
    const failure = new Error('no such name')
    const socket = connect({
      port: 1,
      host: 'a.test',
      lookup: (_host, _options, callback) => process.nextTick(callback, failure, '', 4),
    })
    setAll(socket)
    const [error] = await once(socket, 'error').catch((thrown) => [thrown])
    expect(error).toBe(failure)
  })

  test('a refused connect is reported as ever', async () => {
    // Nobody listens there; a port that was just given back is soon another test's.
    const socket = connect(1, '127.0.0.1')
    setAll(socket)
    const [error] = await once(socket, 'error').catch((thrown) => [thrown])
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect' })
    expect(isDeadPeerError(error)).toBe(false)
  })
})

describe("the kernel's refusal then destroys the socket", () => {
  test('a new net.Socket() that is connected to a Unix-domain path', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tcp-keepalive-'))
    const path = join(folder, 'socket')
    const server = createServer((accepted) => accepted.on('error', () => {})).listen(path)
    await once(server, 'listening')
    const socket = new Socket()
    setUserTimeout(socket, 90_000)
    setKeepalive(socket, KEEPALIVE)
    socket.connect(path)
    const [error] = await once(socket, 'error')
    expect(error).toBeInstanceOf(SocketOptionError)
    expect(error).toMatchObject({
      code: 'ENOTSUP',
      syscall: 'setsockopt',
      option: 'TCP_USER_TIMEOUT',
      changed: [],
      message: expect.stringContaining('Unix-domain'),
    })
    expect(socket.destroyed).toBe(true)
    server.close()
    rmSync(folder, { recursive: true })
  })

  // Refusals of a TCP socket's options: refusal.test.ts.
})

test.concurrent('set inside the program’s own Socket.prototype.connect, as the first use of the library', async () => {
  const keepalive = await answerOf<object>(`
    const { connect, createServer, Socket } = require('node:net')
    const { getKeepalive, setKeepalive } = require('tcp-keepalive')
    const original = Socket.prototype.connect
    Socket.prototype.connect = function (...options) {
      setKeepalive(this, { idle: 60, interval: 10, count: 3 })
      return Reflect.apply(original, this, options)
    }
    const server = createServer(() => {}).listen(0, '127.0.0.1', () => {
      const socket = connect(server.address().port, '127.0.0.1', () => {
        socket.setKeepAlive(true, 1000)
        console.log(JSON.stringify(getKeepalive(socket)))
        process.exit()
      })
    })`)
  expect(keepalive).toEqual({ enabled: true, idle: 60, interval: 10, count: 3 })
})
