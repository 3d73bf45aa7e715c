/** Sockets that become something else, or somebody else's, after they were set. */
import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import {
  Agent,
  createServer as createHttpServer,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http'
import * as net from 'node:net'
import {
  type AddressInfo,
  connect,
  createServer,
  Socket,
  type SocketConstructorOpts,
} from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, TLSSocket } from 'node:tls'
import {
  type DeadPeerPlan,
  getKeepalive,
  isDeadPeerError,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { answerOf, run } from './support/child.ts'
import { listen } from './support/listen.ts'
import { connectedPair } from './support/pair.ts'
import {
  ALL_SET,
  expectAll,
  KEEPALIVE,
  setAll,
  settingsOf,
  USER_TIMEOUT,
} from './support/settings.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

describe.concurrent('STARTTLS', () => {
  /** Both ends of a plain connection, upgraded in place. */
  async function upgrade({ client, accepted }: { client: Socket; accepted: Socket }) {
    const server = new TLSSocket(accepted, { isServer: true, ...tlsServerOptions })
    const secured = connectTls({ ...tlsClientOptions, socket: client })
    server.on('error', () => {})
    secured.on('error', () => {})
    await once(secured, 'secureConnect')
    return { client: secured, accepted: server as Socket }
  }

  test("node:tls is loaded only afterwards, as drivers do: the death is the TLS socket's error", async () => {
    const answer = await answerOf<object>(`
      const net = require('node:net')
      const { once } = require('node:events')
      const { setUserTimeout } = require('tcp-keepalive')
      const { unplug } = require('tcp-keepalive/testing')
      const main = async () => {
        const server = net.createServer().listen(0, '127.0.0.1')
        await once(server, 'listening')
        const raw = net.connect(server.address().port, '127.0.0.1')
        setUserTimeout(raw, 1000)
        const [[accepted]] = await Promise.all([once(server, 'connection'), once(raw, 'connect')])
        const loaded = process.moduleLoadList.includes('NativeModule tls')
        const tls = require('node:tls')
        const psk = Buffer.alloc(16, 7)
        const peer = new tls.TLSSocket(accepted, { isServer: true, ciphers: 'PSK', pskCallback: () => psk })
        peer.on('error', () => {})
        const client = tls.connect({
          socket: raw,
          ciphers: 'PSK',
          checkServerIdentity() {},
          pskCallback: () => ({ psk, identity: 'test' }),
        })
        const log = []
        raw.on('error', ({ message }) => log.push('below: ' + message))
        client.on('error', ({ message }) => log.push(message))
        await once(client, 'secureConnect')
        peer.write(Buffer.alloc(4 << 20))
        while (raw._handle.bytesRead < 65536) await new Promise((resolve) => setTimeout(resolve, 20))
        await new Promise((resolve) => setTimeout(resolve, 300))
        unplug(client)
        client.write('x')
        const hadError = await new Promise((resolve) => client.once('close', resolve))
        console.log(JSON.stringify({ loaded, log, hadError }))
        process.exit()
      }
      main()
    `)
    expect(answer).toEqual({ loaded: false, log: ['read ETIMEDOUT'], hadError: true })
  })

  for (const end of ['client', 'accepted'] as const) {
    test(`${end}: what was set before is there afterwards`, async () => {
      await using pair = await connectedPair()
      setAll(pair[end])
      const secured = await upgrade(pair)
      expectAll(secured[end])
    })

    test(`${end}: set afterwards, on the TLS socket`, async () => {
      await using pair = await connectedPair()
      const secured = await upgrade(pair)
      setAll(secured[end])
      expectAll(secured[end])
      expectAll(pair[end])
      secured[end].setKeepAlive(true, 1000)
      expectAll(secured[end])
    })

    test(`${end}: the peer's death is the TLS socket's error`, async () => {
      await using pair = await connectedPair()
      setKeepalive(pair[end], { idle: 1, interval: 1 })
      setUserTimeout(pair[end], 1500)
      const secured = await upgrade(pair)
      const failed = once(secured[end], 'error')
      unplug(secured[end])
      const [error] = await failed
      expect(isDeadPeerError(error)).toBe(true)
    })
  }

  test('TLS over a socket that is still connecting', async () => {
    await using listening = await listen(
      createServer((socket) => {
        new TLSSocket(socket, { isServer: true, ...tlsServerOptions }).on('error', () => {})
      }),
    )
    const socket = connect(listening.port, '127.0.0.1')
    setAll(socket)
    const secured = connectTls({ ...tlsClientOptions, socket })
    await once(secured, 'secureConnect')
    expectAll(secured)
    secured.setKeepAlive(false)
    expect(settingsOf(secured)).toEqual({ ...ALL_SET, enabled: false })
    secured.destroy()
  })

  test('the same, as the first that a process does', async () => {
    const answer = await answerOf(
      `const { connect, createServer } = require('node:net')
       const tls = require('node:tls')
       const { setKeepalive, getKeepalive } = require('tcp-keepalive')
       const psk = Buffer.alloc(16, 7)
       const server = createServer((socket) => {
         new tls.TLSSocket(socket, { isServer: true, ciphers: 'PSK', pskCallback: () => psk })
       }).listen(0, '127.0.0.1', () => {
         const socket = connect(server.address().port, '127.0.0.1')
         setKeepalive(socket, ${JSON.stringify(KEEPALIVE)})
         const secured = tls.connect({
           socket, ciphers: 'PSK', checkServerIdentity() {},
           pskCallback: () => ({ psk, identity: 'test' }),
         }, () => {
           secured.setKeepAlive(false)
           console.log(JSON.stringify(getKeepalive(secured)))
           process.exit()
         })
       })`,
    )
    expect(answer).toEqual({ ...KEEPALIVE, enabled: false })
  })

  test('over a socket that has not begun to connect TLS is a stream: that socket is to be set', async () => {
    await using listening = await listen(
      createServer((socket) => {
        new TLSSocket(socket, { isServer: true, ...tlsServerOptions }).on('error', () => {})
      }),
    )
    const socket = new Socket()
    const secured = connectTls({ ...tlsClientOptions, socket })
    expect(() => setKeepalive(secured, KEEPALIVE)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_VALUE',
        message: expect.stringContaining('Pass the TCP socket'),
      }),
    )
    setAll(socket)
    socket.connect(listening.port, '127.0.0.1')
    await once(secured, 'secureConnect')
    expectAll(socket)
    secured.destroy()
    socket.destroy()
  })
})

describe.concurrent('HTTP upgrade: WebSocket', () => {
  async function serving() {
    const http = createHttpServer()
    const webSockets = new WebSocketServer({ server: http })
    const listening = await listen(http)
    return {
      http,
      webSockets,
      url: `ws://127.0.0.1:${listening.port}`,
      [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
    }
  }

  const rawOf = (webSocket: WebSocket): Socket =>
    (webSocket as unknown as { _socket: Socket })._socket

  test('a set server: each WebSocket has the settings', async () => {
    await using server = await serving()
    setAll(server.http)
    const connected = once(server.webSockets, 'connection') as Promise<[WebSocket, IncomingMessage]>
    const client = new WebSocket(server.url).on('error', () => {})
    const [webSocket, request] = await connected
    expect(rawOf(webSocket)).toBe(request.socket)
    expectAll(request.socket)
    request.socket.setKeepAlive(true, 1000)
    expectAll(request.socket)
    client.terminate()
  })

  test("the server's end of one WebSocket, by its request", async () => {
    await using server = await serving()
    const connected = once(server.webSockets, 'connection') as Promise<[WebSocket, IncomingMessage]>
    const client = new WebSocket(server.url).on('error', () => {})
    const [, { socket }] = await connected
    setAll(socket)
    expectAll(socket)
    client.terminate()
  })

  test('a client through a set agent', async () => {
    await using server = await serving()
    const agent = new Agent()
    setAll(agent)
    const client = new WebSocket(server.url, { agent })
    await once(client, 'open')
    expectAll(rawOf(client))
    client.terminate()
  })

  test('a client by its upgrade event', async () => {
    await using server = await serving()
    const client = new WebSocket(server.url).on('error', () => {})
    client.on('upgrade', ({ socket }) => setAll(socket))
    await once(client, 'open')
    expectAll(rawOf(client))
    client.terminate()
  })

  test("a dead peer is the WebSocket's error and close", async () => {
    await using server = await serving()
    const connected = once(server.webSockets, 'connection') as Promise<[WebSocket, IncomingMessage]>
    const client = new WebSocket(server.url).on('error', () => {})
    const [webSocket, { socket }] = await connected
    setKeepalive(socket, { idle: 1, interval: 1 })
    setUserTimeout(socket, 1500)
    const errors: unknown[] = []
    webSocket.on('error', (error) => errors.push(error))
    const closed = once(webSocket, 'close')
    socket.on('error', (error) => errors.push(error))
    unplug(socket)
    const [code] = await closed
    expect(code).toBe(1006)
    expect(errors.some(isDeadPeerError)).toBe(true)
    client.terminate()
  })
})

describe.concurrent('CONNECT tunnel', () => {
  /** A proxy that tunnels, and both of its sockets for the tunnel. */
  async function proxying() {
    const proxy = createHttpServer()
    const tunnels: { inner: Socket; outer: Socket }[] = []
    proxy.on('connect', (request, inner: Socket) => {
      const [host, port] = (request.url as string).split(':') as [string, string]
      const outer = connect(Number(port), host, () => {
        inner.write('HTTP/1.1 200 Connection Established\r\n\r\n')
        inner.pipe(outer).pipe(inner)
      })
      inner.on('error', () => outer.destroy())
      outer.on('error', () => inner.destroy())
      tunnels.push({ inner, outer })
    })
    return { ...(await listen(proxy)), proxy, tunnels }
  }

  async function tunnel(port: number, target: number): Promise<Socket> {
    const request = requestHttp({
      port,
      host: '127.0.0.1',
      method: 'CONNECT',
      path: `127.0.0.1:${target}`,
    })
    request.end()
    const [, socket] = (await once(request, 'connect')) as [IncomingMessage, Socket]
    return socket
  }

  test('each hop is a connection of its own: the client to the proxy, the proxy to the target', async () => {
    await using target = await listen(createServer())
    await using proxy = await proxying()
    setAll(proxy.proxy)
    const socket = await tunnel(proxy.port, target.port)
    const [{ inner, outer }] = proxy.tunnels as [{ inner: Socket; outer: Socket }]
    expectAll(inner)
    expect(getKeepalive(outer).idle).not.toBe(KEEPALIVE.idle)
    expect(getKeepalive(socket).idle).not.toBe(KEEPALIVE.idle)
    setAll(outer)
    expectAll(outer)
    socket.destroy()
  })

  test('TLS through the tunnel keeps what was set on it', async () => {
    await using target = await listen(
      createServer((socket) => {
        new TLSSocket(socket, { isServer: true, ...tlsServerOptions }).on('error', () => {})
      }),
    )
    await using proxy = await proxying()
    const socket = await tunnel(proxy.port, target.port)
    setAll(socket)
    const secured = connectTls({ ...tlsClientOptions, socket })
    await once(secured, 'secureConnect')
    secured.setKeepAlive(true, 1000)
    expectAll(secured)
    secured.destroy()
  })
})

const heir = (): ChildProcess =>
  fork(join(__dirname, 'support', 'heir.cjs'), { execArgv: [], stdio: 'inherit' })

describe.concurrent('a child process', () => {
  test('has the settings of a socket that it is sent, but it is not locked there', async () => {
    await using pair = await connectedPair()
    setAll(pair.accepted)
    const child = heir()
    child.send('socket', pair.accepted)
    const [answer] = await once(child, 'message')
    child.kill()
    expect(answer).toEqual({
      given: ALL_SET,
      afterSetKeepAlive: {
        enabled: true,
        idle: 1,
        interval: 1,
        count: 10,
        userTimeout: USER_TIMEOUT,
      },
      setHere: { enabled: true, idle: 71, interval: 1, count: 10, userTimeout: USER_TIMEOUT },
    })
  })

  test('that is sent a set server: what it accepts has inherited', async () => {
    const server = createServer()
    setAll(server)
    await using listening = await listen(server)
    const child = heir()
    child.send('server', server)
    await once(child, 'message')
    // Otherwise the kernel chooses who accepts.
    server.close()
    const client = connect(listening.port, '127.0.0.1')
    const [settings] = await once(child, 'message')
    expect(settings).toEqual(ALL_SET)
    client.destroy()
    child.kill()
  })
})

describe.concurrent('a socket that is used otherwise', () => {
  test('allowHalfOpen: set, and locked, after the peer has finished', async () => {
    await using pair = await connectedPair({ allowHalfOpen: true })
    setAll(pair.client)
    pair.accepted.end()
    await once(pair.client.resume(), 'end')
    expectAll(pair.client)
    pair.client.setKeepAlive(true, 1000)
    expectAll(pair.client)
    setKeepalive(pair.client, { idle: 71 })
    expect(settingsOf(pair.client)).toEqual({ ...ALL_SET, idle: 71 })
  })

  for (const tls of [false, true]) {
    test(`connected again after its end (${tls ? 'TLS' : 'plain'}): set again, and locked`, async () => {
      await using pair = await connectedPair({ tls })
      const { client } = pair
      setAll(client)
      client.end()
      await once(client.resume(), 'close')
      const { port } = pair.server.address() as AddressInfo
      client.connect(port, '127.0.0.1')
      await once(client, 'connect')
      expectAll(client)
      client.setKeepAlive(true, 1000)
      expectAll(client)
    })
  }

  test('connected again: what was set by then, later calls over earlier ones', async () => {
    await using pair = await connectedPair({ prepare: setAll })
    const { client } = pair
    setKeepalive(client, { idle: 71 })
    client.destroy()
    await once(client, 'close')
    client.connect((pair.server.address() as AddressInfo).port, '127.0.0.1')
    setKeepalive(client, { count: 7 })
    await once(client, 'connect')
    expect(settingsOf(client)).toEqual({ ...ALL_SET, idle: 71, count: 7 })
  })

  test('new net.Socket({ fd }) over a descriptor from elsewhere', async () => {
    const answer = await answerOf(
      `const { connect, createServer, Socket } = require('node:net')
       const { spawn } = require('node:child_process')
       const { setKeepalive, getKeepalive } = require('tcp-keepalive')
       if (process.env.INNER) {
         const socket = new Socket({ fd: 3 })
         setKeepalive(socket, ${JSON.stringify(KEEPALIVE)})
         socket.setKeepAlive(true, 1000)
         console.log(JSON.stringify(getKeepalive(socket)))
         process.exit()
       }
       const server = createServer().listen(0, '127.0.0.1', () => {
         const socket = connect(server.address().port, '127.0.0.1', () => {
           spawn(process.execPath, process.execArgv, {
             env: { ...process.env, INNER: '1' },
             stdio: ['ignore', 'inherit', 'inherit', socket._handle.fd],
           }).on('exit', (code) => process.exit(code))
         })
       })`,
    )
    expect(answer).toEqual({ enabled: true, ...KEEPALIVE })
  })
})

const STRACE = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0
/** TCP_RTO_MAX_MS, option 44, as strace tells it, whether it knows the name or not. */
const RTO_MAX = /TCP_RTO_MAX_MS|SOL_TCP, 0x2c/

type Bound = new (options: { host: string; port?: number }) => { address(): AddressInfo }
const { BoundSocket } = net as unknown as { BoundSocket?: Bound }

/** net.BoundSocket is in Node 26 and in the last releases of 24. */
describe
  .skipIf(BoundSocket === undefined)
  .concurrent(
    `BoundSocket${BoundSocket === undefined ? ' (skipped: this Node has none)' : ''}`,
    () => {
      const bound = () => new (BoundSocket as Bound)({ host: '127.0.0.1' })
      const boundSocket = () => new Socket({ handle: bound() } as SocketConstructorOpts)

      test('set before it connects', async () => {
        await using listening = await listen(createServer())
        const socket = boundSocket()
        setAll(socket)
        expectAll(socket)
        socket.connect(listening.port, '127.0.0.1')
        await once(socket, 'connect')
        expectAll(socket)
        socket.setKeepAlive(true, 1000)
        expectAll(socket)
        socket.destroy()
      })

      test('set while it connects', async () => {
        await using listening = await listen(createServer())
        const socket = boundSocket()
        socket.connect(listening.port, '127.0.0.1')
        setAll(socket)
        await once(socket, 'connect')
        expectAll(socket)
        socket.destroy()
      })

      test('the connect is bounded', async () => {
        const silent = await silentPort()
        const socket = boundSocket()
        setUserTimeout(socket, 1500)
        socket.connect(silent.port, '127.0.0.1')
        const [error] = await once(socket, 'error')
        expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
        await silent.close()
      })

      // Without strace there is nobody to tell what came first.
      test.skipIf(!STRACE)(
        `the connect has a user timeout of its own, and nothing that would shorten it${STRACE ? '' : ' (skipped: strace is missing)'}`,
        async () => {
          const folder = mkdtempSync(join(tmpdir(), 'bound-'))
          const trace = join(folder, 'trace')
          const program = `
      const net = require('node:net')
      const { setDeadPeerTimeout } = require('tcp-keepalive')
      const server = net.createServer().listen(0, '127.0.0.1', () => {
        const socket = new net.Socket({ handle: new net.BoundSocket({ host: '127.0.0.1' }) })
        const plan = setDeadPeerTimeout(socket, 60_000, { slowReader: 'end' })
        console.log(JSON.stringify(plan))
        socket.connect(server.address().port, '127.0.0.1', () => setImmediate(process.exit))
      })`
          const strace = ['strace', '-f', '-e', 'trace=setsockopt,connect', '-o', trace]
          const { code, stdout } = await run([...strace, process.execPath, '-e', program])
          expect(code).toBe(0)
          const calls = readFileSync(trace, 'utf8')
          rmSync(folder, { recursive: true })
          const [before = '', after = ''] = calls.split(/connect\(.*AF_INET.*$/m)
          const { connectTimeout, userTimeout } = JSON.parse(stdout) as DeadPeerPlan
          expect(before).toContain(`TCP_USER_TIMEOUT, [${connectTimeout}]`)
          expect(after).toContain(`TCP_USER_TIMEOUT, [${userTimeout}]`)
          expect(calls).not.toMatch(RTO_MAX)
        },
      )

      test('a port that refuses is an error, not a connection', async () => {
        const listening = await listen(createServer())
        await listening[Symbol.asyncDispose]()
        const socket = boundSocket()
        setAll(socket)
        // Long enough for the watcher to have looked at it.
        await new Promise((resolve) => setTimeout(resolve, 150))
        let connected = false
        socket.on('connect', () => {
          connected = true
        })
        socket.connect(listening.port, '127.0.0.1')
        const [error] = await once(socket, 'error')
        expect(error).toMatchObject({ code: 'ECONNREFUSED' })
        expect(connected).toBe(false)
      })

      test('a peer that dies', async () => {
        await using listening = await listen(createServer())
        const socket = boundSocket()
        setKeepalive(socket, { idle: 1, interval: 1 })
        setUserTimeout(socket, 1500)
        socket.connect(listening.port, '127.0.0.1')
        await once(socket, 'connect')
        socket.pause()
        unplug(socket)
        const [error] = await once(socket, 'error')
        expect(isDeadPeerError(error)).toBe(true)
      })

      test('that a server listens on', async () => {
        const server = createServer()
        setAll(server)
        server.listen(bound())
        await once(server, 'listening')
        const accepted = once(server, 'connection') as Promise<[Socket]>
        const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
        const [socket] = await accepted
        expectAll(socket)
        client.destroy()
        socket.destroy()
        server.close()
      })
    },
  )

const descriptorOf = (socket: Socket): number =>
  (socket as unknown as { _handle: { fd: number } })._handle.fd

// Not beside others, which would take the number.
test('the number of a socket that was sent to a child is soon that of another, which is not touched', async () => {
  const sockets: Socket[] = []
  await using listening = await listen(createServer((socket) => sockets.push(socket)))
  await using pair = await connectedPair()
  const number = descriptorOf(pair.accepted)
  setAll(pair.accepted)
  const child = heir()
  await once(child, 'spawn')
  child.send('socket', pair.accepted)
  await once(child, 'message')
  // The kernel gives the lowest number that is free, to either end.
  const successorOf = () => sockets.find((socket) => descriptorOf(socket) === number)
  while (successorOf() === undefined) {
    expect(sockets.length).toBeLessThan(40)
    const accepted = once(listening.server, 'connection')
    sockets.push(connect(listening.port, '127.0.0.1'))
    await accepted
  }
  const successor = successorOf() as Socket
  const before = settingsOf(successor)
  expect(() => setKeepalive(pair.accepted, { idle: 71 })).not.toThrow()
  expect(settingsOf(successor)).toEqual(before)
  setKeepalive(successor, KEEPALIVE)
  let failed: unknown
  successor.on('error', (error) => {
    failed = error
  })
  // The old connection ends under the number that the parent still watches.
  pair.client.resetAndDestroy()
  await new Promise((resolve) => setTimeout(resolve, 200))
  expect(failed).toBe(undefined)
  expect(successor.destroyed).toBe(false)
  expect(getKeepalive(successor)).toEqual({ enabled: true, ...KEEPALIVE })
  child.kill()
  for (const socket of sockets) socket.destroy()
})
