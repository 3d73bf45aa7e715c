/**
 * The same settings for every socket of a program. Installed once for this file, for
 * the sockets of all its tests; what needs installs of its own has a process of its own.
 */

import { subscribe } from 'node:diagnostics_channel'
import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import http, { createServer as createHttpServer } from 'node:http'
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createServer as createHttp2Server,
  createSecureServer,
} from 'node:http2'
import https, { createServer as createHttpsServer } from 'node:https'
import { connect, createServer, type LookupFunction, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
} from 'node:tls'
import {
  type DefaultsOptions,
  getKeepalive,
  getUserTimeout,
  installDefaults,
  isDeadPeerError,
  planDeadPeerTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { listen } from './support/listen.ts'
import { ALL_SET, expectAll, KEEPALIVE, settingsOf, USER_TIMEOUT } from './support/settings.ts'
import { Stopwatch } from './support/stopwatch.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

/** Ports on which a test has installs of its own, and the file's do not count. */
const elsewhere = new Set<number>()
const filtered: { host: string; port: number }[] = []

installDefaults({
  keepalive: KEEPALIVE,
  userTimeout: USER_TIMEOUT,
  filter(_socket, destination) {
    filtered.push(destination)
    return !elsewhere.has(destination.port)
  },
})

const opened: Socket[] = []
subscribe('net.client.socket', (message) => opened.push((message as { socket: Socket }).socket))

/** The socket that something hides, by where it goes. */
function socketTo(port: number): Socket {
  const found = opened.filter((socket) => socket.remotePort === port && !socket.destroyed)
  expect(found).toHaveLength(1)
  return found[0] as Socket
}

const KERNEL_DEFAULT = { enabled: false, userTimeout: 0 }
const TLS = { ...tlsClientOptions, host: '127.0.0.1' }
/** Node's own example of what undoes keepalive, and drivers do just that. */
const expectHeld = (socket: Socket): void => {
  socket.setKeepAlive(true, 1000)
  expectAll(socket)
}

const lookup =
  (...addresses: string[]): LookupFunction =>
  (_host, _options, callback) => {
    const all: LookupAddress[] = addresses.map((address) => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }))
    callback(null, all)
  }

describe.concurrent('every way to open a socket', () => {
  test('net.connect', async () => {
    await using server = await listen(createServer())
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    expectAll(socket)
    expectHeld(socket)
    socket.destroy()
  })

  test('net.connect over IPv6', async () => {
    await using server = await listen(createServer(), { host: '::1' })
    const socket = connect(server.port, '::1')
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('by name', async () => {
    await using server = await listen(createServer())
    const socket = connect({ port: server.port, host: 'a.test', lookup: lookup('127.0.0.1') })
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('net.connect({ keepAlive: true }): Node writes 60/1/10 to the handle itself', async () => {
    await using server = await listen(createServer())
    const options = { keepAlive: true, keepAliveInitialDelay: 5000 }
    const socket = connect({ port: server.port, host: '127.0.0.1', ...options })
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('new net.Socket().connect, and once more with the same socket', async () => {
    await using server = await listen(createServer())
    const socket = new Socket()
    for (let i = 0; i < 2; i++) {
      socket.connect(server.port, '127.0.0.1')
      await once(socket, 'connect')
      expectAll(socket)
      socket.destroy()
      await once(socket, 'close')
    }
  })

  test('tls.connect', async () => {
    await using server = await listen(createTlsServer(tlsServerOptions))
    const socket = connectTls({ ...TLS, port: server.port })
    await once(socket, 'secureConnect')
    expectAll(socket)
    expectHeld(socket)
    socket.destroy()
  })

  test('tls.connect, the first, whose first address fails at once', async () => {
    const settings = await answerOf<unknown>(`
      const tls = require('node:tls')
      const { getKeepalive, installDefaults } = require('tcp-keepalive')
      const psk = Buffer.alloc(16, 7)
      const server = tls.createServer({ ciphers: 'PSK', pskCallback: () => psk })
      server.listen(0, '127.0.0.1', () => {
        installDefaults({ keepalive: { idle: 61, interval: 11, count: 4 } })
        const addresses = ['255.255.255.255', '127.0.0.1'].map((address) => ({ address, family: 4 }))
        const socket = tls.connect({
          port: server.address().port, host: 'a.test', ciphers: 'PSK',
          checkServerIdentity: () => undefined, pskCallback: () => ({ psk, identity: 'test' }),
          autoSelectFamily: true, lookup: (host, options, callback) => callback(null, addresses),
        })
        socket.on('secureConnect', () => {
          console.log(JSON.stringify(getKeepalive(socket)))
          process.exit()
        })
      })`)
    expect(settings).toEqual({ enabled: true, idle: 61, interval: 11, count: 4 })
  })

  test('TLS laid over a connected socket (STARTTLS)', async () => {
    await using server = await listen(createTlsServer(tlsServerOptions))
    const plain = connect(server.port, '127.0.0.1')
    await once(plain, 'connect')
    const socket = connectTls({ ...TLS, socket: plain })
    await once(socket, 'secureConnect')
    expectAll(socket)
    expectHeld(socket)
    socket.destroy()
  })

  for (const keepAlive of [false, true]) {
    test(`http, keepAlive: ${keepAlive}, first use and reuse`, async () => {
      await using server = await listen(createHttpServer((_, response) => response.end('here')))
      const agent = new http.Agent({ keepAlive, keepAliveMsecs: 1000 })
      for (let i = 0; i < 2; i++) {
        const request = http.get({ port: server.port, host: '127.0.0.1', agent })
        const [response] = await once(request, 'response')
        expectAll(request.socket as Socket)
        await text(response)
        if (!keepAlive) continue
        expect(request.reusedSocket).toBe(i === 1)
        await new Promise(setImmediate)
        expectAll(request.socket as Socket)
      }
      agent.destroy()
    })

    test(`https, keepAlive: ${keepAlive}, first use and reuse`, async () => {
      const handler = (_: unknown, response: http.ServerResponse) => response.end('here')
      await using server = await listen(createHttpsServer(tlsServerOptions, handler))
      // One in 250 sessions of a shared key is not resumed but ends with EPROTO, in Node 20 to 26.
      const sessions = { maxCachedSessions: 0 }
      const agent = new https.Agent({
        ...tlsClientOptions,
        ...sessions,
        keepAlive,
        keepAliveMsecs: 1000,
      })
      for (let i = 0; i < 2; i++) {
        const request = https.get({ port: server.port, host: '127.0.0.1', agent })
        const [response] = await once(request, 'response')
        expectAll(request.socket as Socket)
        await text(response)
        if (!keepAlive) continue
        expect(request.reusedSocket).toBe(i === 1)
        await new Promise(setImmediate)
        expectAll(request.socket as Socket)
      }
      agent.destroy()
    })
  }

  test('fetch, although undici sets keepalive of its own', async () => {
    await using server = await listen(createHttpServer((_, response) => response.end('here')))
    const response = await fetch(`http://127.0.0.1:${server.port}`)
    const socket = socketTo(server.port)
    expectAll(socket)
    expect(await response.text()).toBe('here')
    expectAll(socket)
    socket.destroy()
  })

  const sessionIn = async (session: ClientHttp2Session): Promise<void> => {
    await once(session, 'connect')
    expectAll(session.socket as Socket)
    session.destroy()
  }

  test('http2', async () => {
    await using server = await listen(createHttp2Server())
    await sessionIn(connectHttp2(`http://127.0.0.1:${server.port}`))
  })

  test('http2 over TLS', async () => {
    await using server = await listen(createSecureServer(tlsServerOptions as object))
    await sessionIn(connectHttp2(`https://127.0.0.1:${server.port}`, tlsClientOptions))
  })

  for (const tls of [false, true]) {
    test(`autoSelectFamily, ${tls ? 'TLS' : 'plain'}: the first address refuses`, async () => {
      await using server = await listen(tls ? createTlsServer(tlsServerOptions) : createServer())
      const options = {
        port: server.port,
        host: 'a.test',
        autoSelectFamily: true,
        lookup: lookup('::1', '127.0.0.1'),
      }
      const socket = tls
        ? connectTls({ ...tlsClientOptions, ...options } as ConnectionOptions)
        : connect(options)
      await once(socket, tls ? 'secureConnect' : 'connect')
      expect(socket.remoteAddress).toBe('127.0.0.1')
      expectAll(socket)
      expectHeld(socket)
      socket.destroy()
    })

    test(`autoSelectFamily, ${tls ? 'TLS' : 'plain'}: the first two do not answer, each attempt is set`, async () => {
      const silent = await silentPort()
      await using server = await listen(tls ? createTlsServer(tlsServerOptions) : createServer(), {
        host: '127.0.0.2',
        port: silent.port,
      })
      const attempts: object[] = []
      const options = {
        port: server.port,
        host: 'a.test',
        autoSelectFamily: true,
        autoSelectFamilyAttemptTimeout: 100,
        lookup: lookup('::1', '127.0.0.1', '127.0.0.2'),
      }
      const socket = tls
        ? connectTls({ ...tlsClientOptions, ...options } as ConnectionOptions)
        : connect(options)
      // The descriptor is there on the next tick.
      socket.on('connectionAttempt', () => {
        process.nextTick(() => attempts.push(settingsOf(socket)))
      })
      await once(socket, tls ? 'secureConnect' : 'connect')
      expect(socket.remoteAddress).toBe('127.0.0.2')
      expect(attempts).toContainEqual(ALL_SET)
      expectAll(socket)
      expectHeld(socket)
      socket.destroy()
      await silent.close()
    })
  }
})

describe.concurrent('what is passed over', () => {
  test('a Unix-domain socket connects, and nothing is said of it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'defaults-'))
    const path = join(folder, 'socket')
    const refused: unknown[] = []
    subscribe('tcp-keepalive:refused', (message) => {
      refused.push((message as { socket: unknown }).socket)
    })
    await using server = await listen(
      createHttpServer((_, response) => response.end('here')),
      { path },
    )
    const request = http.get({ socketPath: path, host: '127.0.0.1' })
    const [response] = await once(request, 'response')
    expect(await text(response)).toBe('here')
    expect(server.server.listening).toBe(true)
    expect(refused).not.toContain(request.socket)
    rmSync(folder, { recursive: true })
  })

  test("scope 'client' is the default: what a server accepts is left alone", async () => {
    await using server = await listen(createServer())
    const accepted = once(server.server, 'connection')
    const client = connect(server.port, '127.0.0.1')
    const [socket] = await accepted
    expect(settingsOf(socket)).toMatchObject(KERNEL_DEFAULT)
    client.destroy()
  })
})

describe.concurrent("a socket's own settings win, field by field", () => {
  const OWN = { ...ALL_SET, interval: 21 }

  test('set before it connects', async () => {
    await using server = await listen(createServer())
    const socket = new Socket()
    setKeepalive(socket, { interval: 21 })
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    expect(settingsOf(socket)).toEqual(OWN)
    socket.setKeepAlive(true, 1000)
    expect(settingsOf(socket)).toEqual(OWN)
    socket.destroy()
  })

  test('set once it is connected', async () => {
    await using server = await listen(createServer())
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    setKeepalive(socket, { interval: 21 })
    expect(settingsOf(socket)).toEqual(OWN)
    socket.destroy()
  })

  test('set once it is connected, and the same socket connects anew', async () => {
    await using server = await listen(createServer())
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    setKeepalive(socket, { interval: 21 })
    setUserTimeout(socket, 0)
    socket.destroy()
    await once(socket, 'close')
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    expect(settingsOf(socket)).toEqual({ ...OWN, userTimeout: 0 })
    socket.destroy()
  })

  test('keepalive turned off', async () => {
    await using server = await listen(createServer())
    const socket = new Socket()
    setKeepalive(socket, false)
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    expect(settingsOf(socket)).toMatchObject({ enabled: false, userTimeout: USER_TIMEOUT })
    socket.destroy()
  })

  test('on an agent', async () => {
    await using server = await listen(createHttpServer((_, response) => response.end('here')))
    const agent = new http.Agent({ keepAlive: true })
    setKeepalive(agent, { interval: 21 })
    for (let i = 0; i < 2; i++) {
      const request = http.get({ port: server.port, host: '127.0.0.1', agent })
      const [response] = await once(request, 'response')
      expect(settingsOf(request.socket as Socket)).toEqual(OWN)
      await text(response)
    }
    agent.destroy()
  })

  test("Node's setKeepAlive(false) is obeyed, and unlocks the socket", async () => {
    await using server = await listen(createServer())
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.setKeepAlive(false)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, enabled: false })
    socket.setKeepAlive(true, 5000)
    expect(settingsOf(socket)).toMatchObject({ enabled: true, idle: 5 })
    socket.destroy()
  })
})

/** Installs for one test: for its server only. */
function installFor(port: number, options: DefaultsOptions): Disposable & { undo: () => void } {
  elsewhere.add(port)
  const { filter } = options
  const undo = installDefaults({
    ...options,
    filter: (socket, destination) =>
      destination.port === port && (filter?.(socket, destination) ?? true),
  })
  return { undo, [Symbol.dispose]: undo }
}

async function connected(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect(port, host)
  await once(socket, 'connect')
  return socket
}

describe.concurrent('installs', () => {
  test('keepalive: true turns it on with what is there', async () => {
    await using server = await listen(createServer())
    using _ = installFor(server.port, { keepalive: true })
    const socket = await connected(server.port)
    expect(settingsOf(socket)).toMatchObject({ enabled: true, idle: 7200, userTimeout: 0 })
    socket.destroy()
  })

  for (const slowReader of ['keep', 'end'] as const) {
    test(`deadPeerTimeout: { ms, slowReader: '${slowReader}' }`, async () => {
      await using server = await listen(createServer())
      using _ = installFor(server.port, { deadPeerTimeout: { ms: 60_000, slowReader } })
      const socket = await connected(server.port)
      const { idle, interval, count, userTimeout } = planDeadPeerTimeout(60_000, { slowReader })
      const expected = { enabled: true, idle, interval, count, userTimeout }
      expect(settingsOf(socket)).toEqual(expected)
      // A socket's own way of saying the same.
      await using other = await listen(createServer())
      elsewhere.add(other.port)
      const own = await connected(other.port)
      setDeadPeerTimeout(own, 60_000, { slowReader })
      expect(settingsOf(own)).toEqual(expected)
      socket.destroy()
      own.destroy()
    })
  }

  test('keepalive and userTimeout win over deadPeerTimeout, field by field', async () => {
    await using server = await listen(createServer())
    using _ = installFor(server.port, {
      deadPeerTimeout: 60_000,
      keepalive: { idle: 20 },
      userTimeout: 30_000,
    })
    const socket = await connected(server.port)
    const { interval, count } = planDeadPeerTimeout(60_000)
    expect(settingsOf(socket)).toEqual({
      enabled: true,
      idle: 20,
      interval,
      count,
      userTimeout: 30_000,
    })
    socket.destroy()
  })

  test('two at once: the later wins, field by field, until it is undone', async () => {
    await using server = await listen(createServer())
    using _ = installFor(server.port, { keepalive: KEEPALIVE, userTimeout: USER_TIMEOUT })
    using second = installFor(server.port, { keepalive: { idle: 71 } })
    const both = await connected(server.port)
    expect(settingsOf(both)).toEqual({ ...ALL_SET, idle: 71 })
    second.undo()
    const first = await connected(server.port)
    expectAll(first)
    // What was open keeps what it had.
    expect(settingsOf(both)).toEqual({ ...ALL_SET, idle: 71 })
    both.destroy()
    first.destroy()
  })

  test('the undo: the next socket is as it would have been, and undoing twice undoes once', async () => {
    await using server = await listen(createServer())
    using mine = installFor(server.port, { keepalive: KEEPALIVE, userTimeout: USER_TIMEOUT })
    const before = await connected(server.port)
    expectAll(before)
    mine.undo()
    using _ = installFor(server.port, { userTimeout: 50_000 })
    mine.undo()
    const after = await connected(server.port)
    expect(settingsOf(after)).toMatchObject({ enabled: false, userTimeout: 50_000 })
    after.setKeepAlive(true, 5000)
    expect(getKeepalive(after)).toMatchObject({ enabled: true, idle: 5 })
    before.destroy()
    after.destroy()
  })

  test('the same object installed twice is undone once', async () => {
    await using server = await listen(createServer())
    const options = { keepalive: KEEPALIVE, userTimeout: USER_TIMEOUT }
    using first = installFor(server.port, options)
    using second = installFor(server.port, options)
    first.undo()
    first.undo()
    const socket = await connected(server.port)
    expectAll(socket)
    second.undo()
    const after = await connected(server.port)
    expect(settingsOf(after)).toMatchObject(KERNEL_DEFAULT)
    socket.destroy()
    after.destroy()
  })
})

describe.concurrent('filter', () => {
  test('receives the socket, the name that the program passed, and the port', async () => {
    await using server = await listen(createServer())
    const asked: unknown[] = []
    using _ = installFor(server.port, {
      keepalive: KEEPALIVE,
      filter(socket, destination) {
        asked.push([socket, destination])
        return false
      },
    })
    const socket = connect({ port: server.port, host: 'a.test', lookup: lookup('127.0.0.1') })
    await once(socket, 'connect')
    expect(asked).toEqual([[socket, { host: 'a.test', port: server.port }]])
    expect((asked[0] as unknown[])[0]).toBe(socket)
    expect(settingsOf(socket)).toMatchObject(KERNEL_DEFAULT)
    socket.destroy()
  })

  test('receives the address if there was no name', async () => {
    await using server = await listen(createServer())
    const socket = await connected(server.port)
    expect(filtered.filter(({ port }) => port === server.port)).toEqual([
      { host: '127.0.0.1', port: server.port },
    ])
    socket.destroy()
  })

  test('decides for its own install only', async () => {
    await using server = await listen(createServer())
    using _ = installFor(server.port, { keepalive: KEEPALIVE })
    using __ = installFor(server.port, { userTimeout: 50_000, filter: () => false })
    const socket = await connected(server.port)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, userTimeout: 0 })
    socket.destroy()
  })

  test('throws: the connection continues without the settings, and the error is reported', async () => {
    await using server = await listen(createServer())
    const thrown = new Error('as planned')
    const told: unknown[] = []
    subscribe('tcp-keepalive:refused', (message) => {
      if ((message as { error: unknown }).error === thrown) told.push(message)
    })
    const warned = new Promise<Error>((resolve) => {
      process.on('warning', (warning) => {
        if (warning.message.includes('as planned')) resolve(warning)
      })
    })
    using _ = installFor(server.port, {
      keepalive: KEEPALIVE,
      filter() {
        throw thrown
      },
    })
    using __ = installFor(server.port, { userTimeout: 50_000 })
    const socket = await connected(server.port)
    expect(settingsOf(socket)).toMatchObject({ enabled: false, userTimeout: 50_000 })
    expect(told).toEqual([{ socket, error: thrown }])
    expect(await warned).toMatchObject({
      code: 'TCP_KEEPALIVE_REFUSED',
      message:
        'tcp-keepalive: default settings were not set, because the filter threw; the connection continues without them: as planned',
    })
    socket.destroy()
  })
})

describe.concurrent('a peer that goes silent', () => {
  function expectInTime(watch: Stopwatch): void {
    watch.stop()
    watch.expectWithin(2, 3, { early: 0, late: 1 })
  }

  async function silent(options: DefaultsOptions, then: (socket: Socket) => void) {
    await using server = await listen(createServer())
    using _ = installFor(server.port, options)
    const socket = await connected(server.port)
    const dies = new Promise<Error>((resolve) => socket.on('error', resolve))
    const watch = new Stopwatch()
    unplug(socket)
    then(socket)
    watch.started()
    const error = await dies
    expectInTime(watch)
    return error
  }

  test('idle: within the dead-peer time', async () => {
    const error = await silent({ deadPeerTimeout: 3000 }, () => {})
    expect(isDeadPeerError(error)).toBe(true)
  })

  test('with data in flight: likewise', async () => {
    const error = await silent({ deadPeerTimeout: 3000 }, (socket) => {
      socket.write('a query')
    })
    expect(isDeadPeerError(error)).toBe(true)
  })

  test('a connect without an answer: likewise, with defaults and own settings of the socket at once', async () => {
    const nobody = await silentPort()
    using _ = installFor(nobody.port, { deadPeerTimeout: 20_000 })
    const watch = new Stopwatch()
    const socket = connect(nobody.port, '127.0.0.1')
    setDeadPeerTimeout(socket, 3000)
    watch.started()
    const [error] = await once(socket, 'error')
    expectInTime(watch)
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    await nobody.close()
  })

  test('a connect without an answer, by the defaults alone', async () => {
    const nobody = await silentPort()
    using _ = installFor(nobody.port, { deadPeerTimeout: 3000 })
    const watch = new Stopwatch()
    const socket = connect(nobody.port, '127.0.0.1')
    watch.started()
    const [error] = await once(socket, 'error')
    expectInTime(watch)
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    await nobody.close()
  })
})

test.concurrent('defaults and own settings at once: the connect timeout is replaced once the connection is established', async () => {
  await using server = await listen(createServer())
  using _ = installFor(server.port, { deadPeerTimeout: 30_000 })
  const socket = new Socket()
  setDeadPeerTimeout(socket, 20_000)
  socket.connect(server.port, '127.0.0.1')
  const whileConnecting = await new Promise<number>((resolve) => {
    socket.once('connectionAttempt', () => process.nextTick(() => resolve(getUserTimeout(socket))))
  })
  expect(whileConnecting).toBe(planDeadPeerTimeout(20_000).connectTimeout)
  await once(socket, 'connect')
  expect(getUserTimeout(socket)).toBe(planDeadPeerTimeout(20_000).userTimeout)
  socket.destroy()
})

describe('arguments', () => {
  const cases: [string, unknown, string, RegExp][] = [
    ['nothing', undefined, 'ERR_INVALID_ARG_TYPE', /an object such as/],
    ['a number', 60_000, 'ERR_INVALID_ARG_TYPE', /an object such as/],
    ['no setting', {}, 'ERR_INVALID_ARG_VALUE', /nothing would be set/],
    ['a scope alone', { scope: 'all' }, 'ERR_INVALID_ARG_VALUE', /nothing would be set/],
    ['a misspelt field', { keepAlive: true }, 'ERR_INVALID_ARG_VALUE', /options\.keepAlive/],
    ['an unknown scope', { userTimeout: 1000, scope: 'both' }, 'ERR_INVALID_ARG_VALUE', /both/],
    ['no function', { userTimeout: 1000, filter: true }, 'ERR_INVALID_ARG_TYPE', /options\.filter/],
    ['too many probes', { keepalive: { count: 200 } }, 'ERR_OUT_OF_RANGE', /options\.count/],
    ['a negative timeout', { userTimeout: -1 }, 'ERR_OUT_OF_RANGE', /ms/],
    ['too short a time', { deadPeerTimeout: 100 }, 'ERR_OUT_OF_RANGE', /2000/],
    [
      'an unknown slow reader',
      { deadPeerTimeout: { ms: 60_000, slowReader: 'kill' } },
      'ERR_INVALID_ARG_VALUE',
      /kill/,
    ],
  ]
  test.each(cases)('%s is refused, and nothing is installed', async (_, options, code, message) => {
    await using server = await listen(createServer())
    elsewhere.add(server.port)
    expect(() => installDefaults(options as DefaultsOptions)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
    const socket = await connected(server.port)
    expect(settingsOf(socket)).toMatchObject(KERNEL_DEFAULT)
    socket.destroy()
  })
})
