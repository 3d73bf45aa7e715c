/** A server: the listener is set once, and what it accepts has the settings from the start. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer, get as httpGet } from 'node:http'
import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  createSecureServer,
} from 'node:http2'
import { createServer as createHttpsServer, get as httpsGet } from 'node:https'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { getKeepalive, SocketOptionError, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { describe, expect, test } from 'vitest'
import { answerOf, run } from './support/child.ts'
import { type Listening, listen } from './support/listen.ts'
import {
  ALL_SET,
  expectAll,
  KEEPALIVE,
  setAll,
  settingsOf,
  USER_TIMEOUT,
} from './support/settings.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

/** The server's end of a new connection. */
async function accept(server: Server, port: number): Promise<Socket> {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const client = connect(port, '127.0.0.1').on('error', () => {})
  const [socket] = await accepted
  socket.on('close', () => client.destroy())
  return socket
}

const acceptedBy = ({ server, port }: Listening): Promise<Socket> => accept(server, port)

describe.concurrent('net.Server', () => {
  test('set before listen', async () => {
    const server = createServer()
    setAll(server)
    await using listening = await listen(server)
    expectAll(await acceptedBy(listening))
  })

  test('set while it listens', async () => {
    await using listening = await listen(createServer())
    setAll(listening.server)
    expectAll(await acceptedBy(listening))
  })

  test('set between listen and listening', async () => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    setAll(server)
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const socket = await accept(server, port)
    expectAll(socket)
    socket.destroy()
    server.close()
  })

  test('IPv6, and IPv4 that comes in over it', async () => {
    const server = createServer()
    setAll(server)
    await using listening = await listen(server, { host: '::' })
    expectAll(await acceptedBy(listening))
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = connect(listening.port, '::1')
    expectAll((await accepted)[0])
    client.destroy()
  })

  test('changes later are for new connections', async () => {
    const server = createServer()
    setKeepalive(server, KEEPALIVE)
    await using listening = await listen(server)
    const old = await acceptedBy(listening)
    setKeepalive(server, { idle: 71 })
    setUserTimeout(server, USER_TIMEOUT)
    expect(settingsOf(await acceptedBy(listening))).toEqual({ ...ALL_SET, idle: 71 })
    expect(settingsOf(old)).toEqual({ ...ALL_SET, userTimeout: 0 })
    setKeepalive(server, false)
    setUserTimeout(server, 0)
    expect(settingsOf(await acceptedBy(listening))).toEqual({
      ...ALL_SET,
      enabled: false,
      idle: 71,
      userTimeout: 0,
    })
  })

  test('a connection that waits to be accepted is older than the settings, and gets them all the same', async () => {
    await using listening = await listen(createServer())
    const clients = [1, 2, 3].map(() => connect(listening.port, '127.0.0.1'))
    // On loopback the handshake is done when connect(2) returns; nothing is accepted before the loop polls.
    await new Promise(process.nextTick)
    setAll(listening.server)
    const accepted: Socket[] = []
    listening.server.on('connection', (socket) => accepted.push(socket))
    await Promise.all(clients.map((client) => once(client, 'connect')))
    while (accepted.length < clients.length) await new Promise(setImmediate)
    accepted.forEach(expectAll)
    expectAll(await acceptedBy(listening))
    for (const client of clients) client.destroy()
  })

  test('listens again after close', async () => {
    const server = createServer()
    setAll(server)
    await (await listen(server))[Symbol.asyncDispose]()
    await using listening = await listen(server)
    expectAll(await acceptedBy(listening))
  })

  test('listens at last where the port was in use', async () => {
    await using taken = await listen(createServer())
    const server = createServer()
    setAll(server)
    server.listen(taken.port, '127.0.0.1')
    const [error] = await once(server, 'error')
    expect(error).toMatchObject({ code: 'EADDRINUSE' })
    await using listening = await listen(server)
    expectAll(await acceptedBy(listening))
  })

  test('a server that was closed and never listens again can still be set', async () => {
    const server = createServer()
    await (await listen(server))[Symbol.asyncDispose]()
    setAll(server)
    await using listening = await listen(server)
    expectAll(await acceptedBy(listening))
  })

  test('the settings are there in the connection event already', async () => {
    const server = createServer()
    setAll(server)
    const seen = new Promise((resolve) => {
      server.on('connection', (socket) => resolve(settingsOf(socket)))
    })
    await using listening = await listen(server)
    await acceptedBy(listening)
    expect(await seen).toEqual(ALL_SET)
  })

  test('what the connection event sets on a socket stays', async () => {
    const server = createServer()
    setAll(server)
    server.on('connection', (socket) => setKeepalive(socket, { idle: 71 }))
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71 })
    socket.setKeepAlive(true, 1000)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71 })
  })

  test('one socket has settings of its own, its neighbour has not', async () => {
    const server = createServer()
    setAll(server)
    await using listening = await listen(server)
    const first = await acceptedBy(listening)
    setKeepalive(first, { idle: 71 })
    const second = await acceptedBy(listening)
    expectAll(second)
    expect(settingsOf(first)).toEqual({ ...ALL_SET, idle: 71 })
  })

  test('accepted sockets are locked: setKeepAlive(true, …) changes nothing, false is obeyed', async () => {
    const server = createServer()
    setAll(server)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    expect(socket.setKeepAlive(true, 1000)).toBe(socket)
    expectAll(socket)
    socket.setKeepAlive(false)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, enabled: false })
    socket.setKeepAlive(true, 5000)
    expect(settingsOf(socket)).toMatchObject({ enabled: true, idle: 5 })
  })

  test('setKeepAlive(false) is obeyed as the first call of all', async () => {
    const server = createServer()
    setAll(server)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    socket.setKeepAlive(false)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, enabled: false })
  })

  test('setKeepAlive(false) in the connection listener is obeyed for good', async () => {
    const server = createServer((socket) => {
      socket.setKeepAlive(false)
    })
    setAll(server)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    await sleep(10)
    socket.setKeepAlive(true, 5000)
    expect(settingsOf(socket)).toMatchObject({ enabled: true, idle: 5 })
  })

  test('with keepalive off, setKeepAlive(false) as the first call of all unlocks', async () => {
    const server = createServer()
    setKeepalive(server, false)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    socket.setKeepAlive(false)
    socket.setKeepAlive(true)
    expect(getKeepalive(socket)).toMatchObject({ enabled: true })
  })

  test('with keepalive off, setKeepAlive(true, …) changes nothing until setKeepAlive(false)', async () => {
    const server = createServer({ keepAlive: true })
    setKeepalive(server, false)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    socket.setKeepAlive(true, 1000)
    expect(getKeepalive(socket)).toMatchObject({ enabled: false })
    socket.setKeepAlive(false)
    socket.setKeepAlive(true, 1000)
    expect(getKeepalive(socket)).toMatchObject({ enabled: true, idle: 1 })
  })

  test('a user timeout alone does not lock; keepalive set on a connection does, until setKeepAlive(false)', async () => {
    const server = createServer()
    setUserTimeout(server, USER_TIMEOUT)
    server.on('connection', (socket) => {
      socket.setKeepAlive(true, 5000)
      expect(getKeepalive(socket)).toMatchObject({ enabled: true, idle: 5 })
      socket.setKeepAlive(false)
      setKeepalive(socket, KEEPALIVE)
    })
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    expectAll(socket)
    socket.setKeepAlive(false)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, enabled: false })
  })

  test('keepAlive: true by itself undoes what a listener has; on a set server it does not', async () => {
    const server = createServer({ keepAlive: true, keepAliveInitialDelay: 60_000 })
    setUserTimeout(server, USER_TIMEOUT)
    await using listening = await listen(server)
    const before = { enabled: true, idle: 60, interval: 1, count: 10 }
    expect(getKeepalive(await acceptedBy(listening))).toEqual(before)
    setKeepalive(server, KEEPALIVE)
    expectAll(await acceptedBy(listening))
  })

  test('keepAlive: true, set before listen', async () => {
    const server = createServer({ keepAlive: true, keepAliveInitialDelay: 5000 })
    setAll(server)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    expectAll(socket)
    socket.setKeepAlive(false)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, enabled: false })
  })

  test('pauseOnConnect', async () => {
    const server = createServer({ pauseOnConnect: true })
    setAll(server)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    expect(socket.isPaused()).toBe(true)
    expectAll(socket)
    socket.resume()
    expectAll(socket)
  })

  test('allowHalfOpen: the settings stay when the peer has finished', async () => {
    const server = createServer({ allowHalfOpen: true })
    setAll(server)
    await using listening = await listen(server)
    const accepted = once(server, 'connection') as Promise<[Socket]>
    const client = connect(listening.port, '127.0.0.1')
    const [socket] = await accepted
    client.end()
    await once(socket.resume(), 'end')
    expectAll(socket)
    socket.setKeepAlive(true, 1000)
    expectAll(socket)
    client.destroy()
  })

  test('maxConnections: what is dropped leaves the rest alone', async () => {
    const server = createServer()
    server.maxConnections = 1
    setAll(server)
    await using listening = await listen(server)
    const socket = await acceptedBy(listening)
    const dropped = once(server, 'drop')
    connect(listening.port, '127.0.0.1').on('error', () => {})
    await dropped
    expectAll(socket)
  })

  test('a given descriptor: listen({ fd })', async () => {
    // Of another process's making, as a supervisor passes it.
    const answer = await answerOf<{ fd: number; settings: unknown }>(
      `const { createServer, connect } = require('node:net')
       const { setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = require('tcp-keepalive')
       const { spawn } = require('node:child_process')
       if (process.env.INNER) {
         const server = createServer((socket) => {
           console.log(JSON.stringify({ fd: server._handle.fd, settings: { ...getKeepalive(socket), userTimeout: getUserTimeout(socket) } }))
           process.exit()
         })
         setKeepalive(server, ${JSON.stringify(KEEPALIVE)})
         setUserTimeout(server, ${USER_TIMEOUT})
         server.listen({ fd: 3 })
       } else {
         const outer = createServer()
         outer.listen(0, '127.0.0.1', () => {
           const { port } = outer.address()
           const child = spawn(process.execPath, process.execArgv, {
             env: { ...process.env, INNER: '1' },
             stdio: ['ignore', 'inherit', 'inherit', outer._handle.fd],
           })
           outer.close()
           connect(port, '127.0.0.1').on('error', () => {})
           child.on('exit', (code) => process.exit(code))
         })
       }`,
    )
    expect(answer).toEqual({ fd: 3, settings: ALL_SET })
  })

  test('no listener of this library is on the server', async () => {
    const server = createServer()
    const before = server.eventNames()
    setAll(server)
    expect(server.eventNames()).toEqual(before)
    expect(Object.keys(server)).toEqual(Object.keys(createServer()))
  })
})

interface Kind {
  name: string
  create: () => Server
  /** A client of this protocol, until the server has taken it for one. */
  visit: (port: number) => Promise<() => void>
  /** The event with the socket that the server's user gets. */
  event: string
}

const httpVisit =
  (get: typeof httpGet, options: object = {}) =>
  async (port: number) => {
    const request = get({ ...options, host: '127.0.0.1', port })
    await once(request, 'response')
    return () => void request.destroy()
  }

const http2Visit =
  (scheme: string, options: object = {}) =>
  async (port: number) => {
    const session = connectHttp2(`${scheme}://127.0.0.1:${port}`, options)
    const stream = session.request()
    await once(stream, 'response')
    return () => session.destroy()
  }

const respond = (_: unknown, response: { end(): void }) => response.end()

const kindsOf = (options: object): Kind[] => [
  {
    name: 'tls',
    create: () => createTlsServer({ ...tlsServerOptions, ...options }),
    visit: async (port) => {
      const socket = connectTls({ ...tlsClientOptions, host: '127.0.0.1', port })
      await once(socket, 'secureConnect')
      return () => socket.destroy()
    },
    event: 'secureConnection',
  },
  {
    name: 'http',
    create: () => createHttpServer(options, respond),
    visit: httpVisit(httpGet),
    event: 'connection',
  },
  {
    name: 'https',
    create: () => createHttpsServer({ ...tlsServerOptions, ...options }, respond),
    visit: httpVisit(httpsGet, tlsClientOptions),
    event: 'secureConnection',
  },
  {
    name: 'http2, plain',
    create: () => createHttp2Server(options, respond),
    visit: http2Visit('http'),
    event: 'connection',
  },
  {
    name: 'http2, secure',
    create: () => createSecureServer({ ...tlsServerOptions, ...options }, respond),
    visit: http2Visit('https', tlsClientOptions),
    event: 'secureConnection',
  },
]

for (const nodes of [{}, { keepAlive: true, keepAliveInitialDelay: 5000 }]) {
  const title =
    Object.keys(nodes).length === 0 ? 'servers of other protocols' : 'with keepAlive: true'
  describe.concurrent.each(kindsOf(nodes))(`${title}: $name`, ({ create, visit, event }) => {
    test('the socket that the server gets has the settings, during and after its requests', async () => {
      const server = create()
      setAll(server)
      await using listening = await listen(server)
      const got = once(server, event) as Promise<[Socket]>
      const leave = await visit(listening.port)
      const [socket] = await got
      expectAll(socket)
      leave()
    })

    test('it is locked; setKeepAlive(false) is obeyed', async () => {
      const server = create()
      setAll(server)
      await using listening = await listen(server)
      const got = once(server, event) as Promise<[Socket]>
      const leave = await visit(listening.port)
      const [socket] = await got
      socket.setKeepAlive(true, 1000)
      expectAll(socket)
      socket.setKeepAlive(false)
      expect(settingsOf(socket)).toEqual({ ...ALL_SET, enabled: false })
      leave()
    })
  })
}

function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), 'server-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

describe.concurrent('a server on a path', () => {
  const folder = () => {
    const { path, [Symbol.dispose]: dispose } = temporaryFolder()
    return { socket: join(path, 'socket'), [Symbol.dispose]: dispose }
  }

  test('is refused while it listens', async () => {
    using path = folder()
    await using listening = await listen(createServer(), { path: path.socket })
    expect(() => setKeepalive(listening.server, KEEPALIVE)).toThrow(SocketOptionError)
    expect(() => setUserTimeout(listening.server, USER_TIMEOUT)).toThrow(
      /TCP_USER_TIMEOUT.*not on a TCP port/,
    )
    expect(listening.server.listening).toBe(true)
  })

  test('set before listen: an error, and it does not listen', async () => {
    using path = folder()
    const server = createServer()
    setKeepalive(server, KEEPALIVE)
    let listened = false
    server.on('listening', () => {
      listened = true
    })
    server.listen(path.socket)
    const [error] = await once(server, 'error')
    expect(error).toMatchObject({
      name: 'SocketOptionError',
      code: 'ENOTSUP',
      syscall: 'setsockopt',
      option: 'TCP_KEEPIDLE',
      message: expect.stringContaining('not on a TCP port'),
    })
    expect(server.listening).toBe(false)
    expect(listened).toBe(false)
  })

  test('the same server can listen on a port afterwards', async () => {
    using path = folder()
    const server = createServer()
    setAll(server)
    server.listen(path.socket)
    await once(server, 'error')
    await using listening = await listen(server)
    expectAll(await acceptedBy(listening))
  })
})

test.concurrent.each(['true, 1000', 'false'])(
  'under TLS the first connection of a process knows setKeepAlive(%s)',
  async (args) => {
    const answer = await answerOf(
      `const tls = require('node:tls')
       const { setKeepalive, getKeepalive } = require('tcp-keepalive')
       const psk = Buffer.alloc(16, 7)
       const server = tls.createServer({ ciphers: 'PSK', pskCallback: () => psk }, (socket) => {
         socket.setKeepAlive(${args})
         console.log(JSON.stringify(getKeepalive(socket)))
         process.exit()
       })
       setKeepalive(server, ${JSON.stringify(KEEPALIVE)})
       server.listen(0, '127.0.0.1', () => tls.connect({
         port: server.address().port, host: '127.0.0.1', ciphers: 'PSK',
         checkServerIdentity() {}, pskCallback: () => ({ psk, identity: 'test' }),
       }))`,
    )
    expect(answer).toEqual({ ...KEEPALIVE, enabled: args !== 'false' })
  },
)

const STRACE = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0

describe.concurrent('what an accepted connection costs', () => {
  const COUNT = 1000
  /** Accepts COUNT connections and tells how many have all the settings. */
  const program = (prepare: string) => `
    const { createServer, connect } = require('node:net')
    const { setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = require('tcp-keepalive')
    const set = new Set()
    const server = createServer(${prepare}, (socket) => {
      const { enabled, idle, interval, count } = getKeepalive(socket)
      if (enabled && idle === ${KEEPALIVE.idle} && interval === ${KEEPALIVE.interval} &&
          count === ${KEEPALIVE.count} && getUserTimeout(socket) === ${USER_TIMEOUT}) set.add(socket)
      socket.resume()
      if (set.size === ${COUNT}) {
        console.log(JSON.stringify({ set: set.size }))
        // The last one is watched when its 'connection' event is over.
        setImmediate(process.exit)
      }
    })
    setKeepalive(server, ${JSON.stringify(KEEPALIVE)})
    setUserTimeout(server, ${USER_TIMEOUT})
    server.listen(0, '127.0.0.1', () => {
      let connected = 0
      const next = () => {
        if (connected++ < ${COUNT}) connect(server.address().port, '127.0.0.1', next)
      }
      for (let i = 0; i < 20; i++) next()
    })`

  for (const prepare of ['{}', '{ keepAlive: true }']) {
    // Without strace there is nobody to count system calls.
    test.skipIf(!STRACE)(
      `${COUNT} connections, createServer(${prepare}): no setsockopt, one epoll_ctl more than Node's own${STRACE ? '' : ' (skipped: strace is missing)'}`,
      async () => {
        using trace = temporaryFolder()
        const file = join(trace.path, 'trace')
        const ended = await run([
          ...['strace', '-f', '-e', 'trace=setsockopt,accept4,epoll_ctl', '-o', file],
          ...[process.execPath, '-e', program(prepare)],
        ])
        expect(ended).toMatchObject({ code: 0, stdout: `${JSON.stringify({ set: COUNT })}\n` })
        const calls = readFileSync(file, 'utf8')
        const count = (pattern: RegExp) => calls.match(pattern)?.length ?? 0
        expect(count(/accept4\(.* = \d+$/gm)).toBeGreaterThanOrEqual(COUNT)
        const options = /setsockopt\(\d+, .*(SO_KEEPALIVE|TCP_KEEP|TCP_USER_TIMEOUT)/gm
        // Those of the listener.
        expect(count(options)).toBe(5)
        expect(count(/epoll_ctl\(.*EPOLL_CTL_ADD.*EPOLLET/gm)).toBe(COUNT)
      },
    )
  }
})
