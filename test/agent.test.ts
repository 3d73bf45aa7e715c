/** An agent: each socket it opens or takes from its pool is set, and is still set in the pool. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import {
  type ClientRequest,
  createServer as createHttpServer,
  Agent as HttpAgent,
  type IncomingMessage,
  request as requestHttp,
} from 'node:http'
import {
  createServer as createHttpsServer,
  Agent as HttpsAgent,
  request as requestHttps,
} from 'node:https'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import {
  getKeepalive,
  isDeadPeerError,
  SocketOptionError,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { listen } from './support/listen.ts'
import { ALL_SET, expectAll, KEEPALIVE, setAll, settingsOf } from './support/settings.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

type Callback = (error: Error | null, socket?: Socket) => void
type AnyAgent = HttpAgent & { createConnection: (options: object, callback: Callback) => unknown }

interface Protocol {
  name: string
  Agent: new (options: object) => HttpAgent
  server: (
    listener: (request: IncomingMessage, response: { end(text?: string): void }) => void,
  ) => Server
  connect: (options: object) => Socket
  request: typeof requestHttp
}

/** Node closes what has been idle for 5 s, which a busy machine takes between two requests. */
const IDLE = { keepAliveTimeout: 120_000 }

const protocols: Protocol[] = [
  {
    name: 'http',
    Agent: HttpAgent,
    server: (listener) => createHttpServer(IDLE, listener),
    connect: (options) => connect(options as { port: number }),
    request: requestHttp,
  },
  {
    name: 'https',
    Agent: HttpsAgent,
    server: (listener) => createHttpsServer({ ...tlsServerOptions, ...IDLE }, listener),
    connect: (options) => connectTls({ ...tlsClientOptions, ...options }),
    request: requestHttps,
  },
]

/** What keepSocketAlive of Node's agents leaves on a socket that nobody has set. */
const NODES_RESET = { enabled: true, idle: 1, interval: 1, count: 10 }

for (const { name, Agent, server: createHttp, connect: open, request } of protocols) {
  const pooling = { keepAlive: true, keepAliveMsecs: 1000, ...tlsClientOptions }

  const agents: Record<string, () => AnyAgent> = {
    "Node's own": () => new Agent(pooling) as AnyAgent,
    'createConnection of its own': () =>
      Object.assign(new Agent(pooling), { createConnection: open }) as AnyAgent,
    'createConnection that calls back later': () =>
      Object.assign(new Agent(pooling), {
        createConnection(options: object, callback: Callback) {
          setTimeout(() => callback(null, open(options)), 20)
        },
      }) as AnyAgent,
    'a subclass with createConnection': () => {
      class Subclass extends Agent {
        override createConnection(options: object) {
          return open(options)
        }
      }
      return new Subclass(pooling) as AnyAgent
    },
  }

  const httpServer = () => listen(createHttp((_, response) => response.end('hello')))

  /** One request to its end; its socket is then back in the pool, or closed. */
  async function visit(agent: HttpAgent, port: number): Promise<ClientRequest> {
    const made = request({ agent, port, host: '127.0.0.1' })
    made.end()
    const [response] = (await once(made, 'response')) as [IncomingMessage]
    response.resume()
    await once(response, 'close')
    await new Promise(setImmediate)
    return made
  }

  const poolOf = (agent: HttpAgent): Socket[] =>
    Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])

  describe.concurrent.each(Object.keys(agents))(`${name}: %s`, (kind) => {
    const create = agents[kind] as () => AnyAgent

    test('a socket is set when it is new, in the pool, and when it is used again', async () => {
      await using server = await httpServer()
      const agent = create()
      setAll(agent)
      const first = request({ agent, port: server.port, host: '127.0.0.1' })
      first.end()
      const [response] = (await once(first, 'response')) as [IncomingMessage]
      const socket = first.socket as Socket
      expectAll(socket)
      response.resume()
      await once(response, 'close')
      await new Promise(setImmediate)
      expect(poolOf(agent)).toEqual([socket])
      expectAll(socket)
      const second = await visit(agent, server.port)
      expect(second.socket).toBe(socket)
      expectAll(socket)
      agent.destroy()
    })

    test('what lies idle in the pool is set on its next use', async () => {
      await using server = await httpServer()
      const agent = create()
      await visit(agent, server.port)
      const [idle] = poolOf(agent)
      setAll(agent)
      const second = await visit(agent, server.port)
      expect(second.socket).toBe(idle)
      expectAll(idle as Socket)
      agent.destroy()
    })

    test('the connect too: the user timeout bounds it', async () => {
      const silent = await silentPort()
      const agent = create()
      setUserTimeout(agent, 1500)
      const made = request({ agent, port: silent.port, host: '127.0.0.1' })
      made.end()
      const [error] = await once(made, 'error')
      expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
      expect(isDeadPeerError(error)).toBe(true)
      agent.destroy()
      await silent.close()
    })
  })

  describe.concurrent(`${name}: an agent`, () => {
    test('that is not set: Node resets its pooled sockets, interval and count included', async () => {
      await using server = await httpServer()
      const agent = agents['createConnection of its own']?.() as AnyAgent
      await visit(agent, server.port)
      expect(getKeepalive(poolOf(agent)[0] as Socket)).toEqual(NODES_RESET)
      agent.destroy()
    })

    test('one of its sockets set by itself: locked in the pool as well', async () => {
      await using server = await httpServer()
      const agent = agents['createConnection of its own']?.() as AnyAgent
      agent.on('free', (socket: Socket) => socket.setKeepAlive(true, 1000))
      const made = request({ agent, port: server.port, host: '127.0.0.1' })
      made.on('socket', setAll).end()
      const [response] = (await once(made, 'response')) as [IncomingMessage]
      response.resume()
      await once(response, 'close')
      await new Promise(setImmediate)
      expectAll(poolOf(agent)[0] as Socket)
      agent.destroy()
    })

    test('settings of one of its sockets survive its next use', async () => {
      await using server = await httpServer()
      const agent = new Agent(pooling)
      setAll(agent)
      const first = await visit(agent, server.port)
      setKeepalive(first.socket as Socket, { idle: 71 })
      const second = await visit(agent, server.port)
      expect(second.socket).toBe(first.socket)
      expect(settingsOf(second.socket as Socket)).toEqual({ ...ALL_SET, idle: 71 })
      agent.destroy()
    })

    test('is set again as it was: what a busy socket got itself meanwhile gives way', async () => {
      let finish = () => {}
      await using server = await listen(
        createHttp((_incoming, response) => {
          finish = () => response.end()
        }),
      )
      const agent = new Agent(pooling)
      setKeepalive(agent, KEEPALIVE)
      const slow = request({ agent, port: server.port, host: '127.0.0.1' })
      slow.end()
      const [busy] = (await once(slow, 'socket')) as [Socket]
      await once(server.server, 'request')
      setKeepalive(busy, { idle: 30, interval: 5, count: 2 })
      setKeepalive(agent, KEEPALIVE)
      expect(getKeepalive(busy)).toMatchObject(KEEPALIVE)
      finish()
      await once(slow, 'response')
      agent.destroy()
    })

    test('changes later: new sockets, those in use, and idle ones on their next use', async () => {
      let finish = () => {}
      await using server = await listen(
        createHttp((incoming, response) => {
          if (incoming.url === '/slow') finish = () => response.end()
          else response.end()
        }),
      )
      const agent = new Agent(pooling)
      setKeepalive(agent, KEEPALIVE)
      await visit(agent, server.port)
      const [idle] = poolOf(agent) as [Socket]
      const slow = request({ agent: agent, port: server.port, host: '127.0.0.1', path: '/slow' })
      slow.end()
      const [busy] = (await once(slow, 'socket')) as [Socket]
      expect(busy).toBe(idle)
      await once(server.server, 'request')
      setKeepalive(agent, { idle: 71 })
      expect(getKeepalive(busy)).toMatchObject({ ...KEEPALIVE, idle: 71 })
      const fresh = (await visit(agent, server.port)).socket as Socket
      expect(fresh).not.toBe(busy)
      expect(getKeepalive(fresh)).toMatchObject({ ...KEEPALIVE, idle: 71 })
      setKeepalive(agent, { idle: 81 })
      expect((await visit(agent, server.port)).socket).toBe(fresh)
      expect(getKeepalive(fresh)).toMatchObject({ ...KEEPALIVE, idle: 81 })
      finish()
      const [response] = (await once(slow, 'response')) as [IncomingMessage]
      await once(response.resume(), 'close')
      agent.destroy()
    })

    test('a socket that goes to a waiting request without passing the pool', async () => {
      await using server = await httpServer()
      const agent = new Agent({ ...pooling, maxSockets: 1 })
      const requests = [1, 2].map(() =>
        request({ agent, port: server.port, host: '127.0.0.1' }).end(),
      )
      const [socket] = (await once(requests[0] as ClientRequest, 'socket')) as [Socket]
      setAll(agent)
      const responses = requests.map(async (made) => {
        const [response] = (await once(made, 'response')) as [IncomingMessage]
        await once(response.resume(), 'close')
      })
      await Promise.all(responses)
      expect(requests[1]?.socket).toBe(socket)
      expectAll(socket)
      agent.destroy()
    })

    test('whose createConnection is replaced afterwards', async () => {
      await using server = await httpServer()
      const agent = new Agent(pooling) as AnyAgent
      setAll(agent)
      agent.createConnection = open
      expectAll((await visit(agent, server.port)).socket as Socket)
      agent.destroy()
    })

    test('without keepAlive', async () => {
      await using server = await httpServer()
      const agent = new Agent({ ...tlsClientOptions })
      setAll(agent)
      const made = request({ agent, port: server.port, host: '127.0.0.1' }).end()
      const [response] = (await once(made, 'response')) as [IncomingMessage]
      expectAll(made.socket as Socket)
      response.resume()
      await once(response, 'close')
    })

    test('shows nothing of it', () => {
      const agent = new Agent(pooling)
      const shown = () => [Object.keys(agent), agent.eventNames(), agent.listenerCount('free')]
      const before = shown()
      setAll(agent)
      expect(shown()).toEqual(before)
    })
  })
}

describe.concurrent('what has no TCP options fails the request', () => {
  test('a path', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'agent-'))
    const path = join(folder, 'socket')
    await using _server = await listen(
      createHttpServer((_, response) => response.end()),
      { path },
    )
    const agent = new HttpAgent({ keepAlive: true })
    setKeepalive(agent, KEEPALIVE)
    const [error] = await once(requestHttp({ agent, socketPath: path }).end(), 'error')
    expect(error).toBeInstanceOf(SocketOptionError)
    expect(error).toMatchObject({ code: 'ENOTSUP', option: 'TCP_KEEPIDLE' })
    rmSync(folder, { recursive: true })
  })

  test('a stream that createConnection gives', async () => {
    const agent = new HttpAgent() as AnyAgent
    agent.createConnection = () => new Duplex({ read() {}, write() {} })
    setKeepalive(agent, KEEPALIVE)
    const [error] = await once(requestHttp({ agent, port: 1, host: '127.0.0.1' }).end(), 'error')
    expect(error).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' })
  })
})

/** Node's agents know proxies of the environment since v24.5. */
const [MAJOR = 0, MINOR = 0] = process.versions.node.split('.').map(Number)
const KNOWS_PROXIES = MAJOR > 24 || (MAJOR === 24 && MINOR >= 5)

/** Where a proxy that takes the connection, and dies before it answers, listens. */
async function deadProxy() {
  return listen(createServer((socket) => unplug(socket)))
}

const CONNECT = 'CONNECT target.test:443 HTTP/1.1\r\nHost: target.test:443\r\n\r\n'

/** As https-proxy-agent and the package below it, agent-base, do it. */
class ProxyAgent extends HttpAgent {
  #socket: Socket | undefined
  readonly where: { port: number; host: string }

  constructor(where: { port: number; host: string }) {
    super()
    this.where = where
  }

  open(): Socket {
    return connect(this.where)
  }

  async connect(): Promise<Socket> {
    const socket = this.open()
    socket.write(CONNECT)
    await once(socket, 'data')
    return socket
  }

  createSocket(request: unknown, options: unknown, callback: Callback): void {
    const { createSocket } = HttpAgent.prototype as unknown as ProxyAgent
    Promise.resolve()
      .then(() => this.connect())
      .then((socket) => {
        this.#socket = socket
        createSocket.call(this, request, options, callback)
      }, callback)
  }

  override createConnection(): Socket {
    return this.#socket as Socket
  }
}

describe.concurrent('a proxy that dies before it answers is the error of the request', () => {
  const where = { port: 443, host: 'target.test' }

  async function expectDeath(made: ClientRequest): Promise<void> {
    const [error] = await once(made.end(), 'error')
    expect(error).toMatchObject({ code: 'ETIMEDOUT' })
    expect(isDeadPeerError(error)).toBe(true)
  }

  test('an agent with a connect() that asks the proxy first', async () => {
    await using proxy = await deadProxy()
    const agent = new ProxyAgent({ port: proxy.port, host: '127.0.0.1' })
    setDeadPeerTimeout(agent, 2000)
    await expectDeath(requestHttp({ agent, ...where }))
  })

  test('an agent whose createConnection calls back when the proxy has answered', async () => {
    await using proxy = await deadProxy()
    const agent = Object.assign(new HttpAgent(), {
      createConnection(_: object, callback: Callback) {
        const socket = connect(proxy.port, '127.0.0.1', () => socket.write(CONNECT))
        socket.once('data', () => callback(null, socket)).once('error', callback)
      },
    })
    setDeadPeerTimeout(agent, 2000)
    await expectDeath(requestHttp({ agent, ...where }))
  })

  test('a CONNECT request with an agent', async () => {
    await using proxy = await deadProxy()
    const agent = new HttpAgent()
    setDeadPeerTimeout(agent, 2000)
    const { port } = proxy
    await expectDeath(
      requestHttp({ agent, port, host: '127.0.0.1', method: 'CONNECT', path: 'target.test:443' }),
    )
  })

  test.skipIf(!KNOWS_PROXIES)(
    `an https.Agent with proxyEnv${KNOWS_PROXIES ? '' : ' (skipped: this Node does not know it)'}`,
    async () => {
      await using proxy = await deadProxy()
      const proxyEnv = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` }
      const agent = new HttpsAgent({ keepAlive: true, ...{ proxyEnv } })
      setDeadPeerTimeout(agent, 2000)
      await expectDeath(requestHttps({ agent, ...where }))
    },
  )
})

describe.concurrent('what an agent opens to get a connection', () => {
  test('is set, and still is where the connection is TLS over it', async () => {
    await using target = await listen(
      createHttpsServer(tlsServerOptions, (_, response) => response.end()),
    )
    const opened: Socket[] = []
    const agent = new (class extends ProxyAgent {
      override async connect() {
        const socket = this.open()
        opened.push(socket)
        await once(socket, 'connect')
        expectAll(socket)
        return connectTls({ ...tlsClientOptions, socket })
      }
    })({ port: target.port, host: '127.0.0.1' })
    setAll(agent)
    const made = requestHttp({ agent, port: 1, host: 'target.test' }).end()
    await once(made, 'response')
    expect(opened).toHaveLength(1)
    expectAll(made.socket as Socket)
    agent.destroy()
  })

  test('over a path is left alone', async () => {
    await using target = await listen(createHttpServer((_, response) => response.end()))
    const folder = mkdtempSync(join(tmpdir(), 'agent-'))
    const path =
      process.platform === 'win32' ? `\\\\.\\pipe\\${folder.slice(-6)}` : join(folder, 'socket')
    await using _ = await listen(createServer(), { path })
    const agent = new (class extends ProxyAgent {
      override async connect() {
        await once(connect(path), 'connect')
        return this.open()
      }
    })({ port: target.port, host: '127.0.0.1' })
    setAll(agent)
    await once(requestHttp({ agent, port: 1, host: 'target.test' }).end(), 'response')
    agent.destroy()
    rmSync(folder, { recursive: true })
  })

  test('applies to no other socket: one that is opened meanwhile is not set', async () => {
    await using target = await listen(createServer())
    const agent = new ProxyAgent({ port: target.port, host: '127.0.0.1' })
    setAll(agent)
    const made = requestHttp({ agent, port: 1, host: 'target.test' })
      .on('error', () => {})
      .end()
    await once(target.server, 'connection')
    const other = connect(target.port, '127.0.0.1')
    await once(other, 'connect')
    expect(settingsOf(other)).toMatchObject({ enabled: false, userTimeout: 0 })
    other.destroy()
    made.destroy()
  })

  test('nor is one that its lookup opens', async () => {
    await using target = await listen(createServer())
    let other: Socket | undefined
    const agent = new HttpAgent({
      lookup(_host, _options, callback) {
        other = connect(target.port, '127.0.0.1')
        callback(null, '127.0.0.1', 4)
      },
    })
    setAll(agent)
    const made = requestHttp({ agent, port: target.port, host: 'target.test' })
      .on('error', () => {})
      .end()
    await once(made, 'socket')
    const opened = other as unknown as Socket
    if (opened.connecting) await once(opened, 'connect')
    expect(settingsOf(opened)).toMatchObject({ enabled: false, userTimeout: 0 })
    opened.destroy()
    made.destroy()
  })
})

describe
  .skipIf(!KNOWS_PROXIES)
  .concurrent(
    `an https.Agent with proxyEnv${KNOWS_PROXIES ? '' : ' (skipped: this Node does not know it)'}`,
    () => {
      const through = (port: number) =>
        new HttpsAgent({
          ...tlsClientOptions,
          keepAlive: true,
          ...{ proxyEnv: { HTTPS_PROXY: `http://127.0.0.1:${port}` } },
        })

      test('the tunnel is set', async () => {
        await using target = await listen(
          createHttpsServer(tlsServerOptions, (_, response) => response.end()),
        )
        const proxy = createHttpServer().on('connect', (_, socket: Socket) => {
          const upstream = connect(target.port, '127.0.0.1', () => {
            socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
            socket.pipe(upstream).pipe(socket)
          })
          socket.on('error', () => upstream.destroy())
          upstream.on('error', () => socket.destroy())
        })
        await using listening = await listen(proxy)
        const agent = through(listening.port)
        setAll(agent)
        const made = requestHttps({ agent, port: target.port, host: 'localhost' }).end()
        const [response] = (await once(made, 'response')) as [IncomingMessage]
        expect(made.socket?.remotePort).toBe(listening.port)
        expectAll(made.socket as Socket)
        await once(response.resume(), 'close')
        await new Promise(setImmediate)
        expectAll(made.socket as Socket)
        agent.destroy()
      })

      test('the connect to the proxy is bounded', async () => {
        const silent = await silentPort()
        const agent = through(silent.port)
        setUserTimeout(agent, 1500)
        const [error] = await once(
          requestHttps({ agent, port: 1, host: 'localhost' }).end(),
          'error',
        )
        expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
        await silent.close()
      })
    },
  )
