/** An Http2Session: its socket is a proxy that refuses setKeepAlive, and is set all the same. */
import { once } from 'node:events'
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createSecureServer,
  createServer,
  type Http2Session,
  performServerHandshake,
  type ServerHttp2Session,
} from 'node:http2'
import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import {
  getKeepalive,
  getUserTimeout,
  isDeadPeerError,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { runNode } from './support/child.ts'
import { listen } from './support/listen.ts'
import { expectAll, KEEPALIVE, setAll } from './support/settings.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

const respond = (_: unknown, response: { end(): void }) => response.end()

const kinds = [
  { name: 'plain', scheme: 'http', create: () => createServer(respond), options: {} },
  {
    name: 'secure',
    scheme: 'https',
    create: () => createSecureServer(tlsServerOptions, respond),
    options: tlsClientOptions,
  },
]

/** What a session's user has of its socket reads like any other. */
const socketOf = (session: Http2Session): Socket => session.socket as Socket

describe.concurrent.each(kinds)('$name', ({ scheme, create, options }) => {
  async function pair() {
    const server: Server = create()
    const listening = await listen(server)
    const accepted = once(server, 'session') as Promise<[ServerHttp2Session]>
    const client = connectHttp2(`${scheme}://127.0.0.1:${listening.port}`, options)
    const [[serverSession]] = await Promise.all([accepted, once(client, 'connect')])
    client.on('error', () => {})
    serverSession.on('error', () => {})
    return {
      client: client as Http2Session,
      server: serverSession as Http2Session,
      async [Symbol.asyncDispose]() {
        client.destroy()
        await listening[Symbol.asyncDispose]()
      },
    }
  }

  for (const end of ['client', 'server'] as const) {
    test(`the ${end}'s session`, async () => {
      await using sessions = await pair()
      const session = sessions[end]
      expect(getKeepalive(socketOf(session))).toMatchObject({ enabled: false })
      setAll(session)
      expectAll(socketOf(session))
      setKeepalive(session, false)
      setUserTimeout(session, 0)
      expect(getKeepalive(socketOf(session))).toEqual({ ...KEEPALIVE, enabled: false })
      expect(getUserTimeout(socketOf(session))).toBe(0)
    })

    test(`Node's refusal of setKeepAlive on the ${end}'s socket stays`, async () => {
      await using sessions = await pair()
      setAll(sessions[end])
      expect(() => socketOf(sessions[end]).setKeepAlive(true)).toThrow(
        expect.objectContaining({ code: 'ERR_HTTP2_NO_SOCKET_MANIPULATION' }),
      )
    })

    test(`the ${end}'s socket, though a proxy, may be set itself`, async () => {
      await using sessions = await pair()
      setAll(socketOf(sessions[end]))
      expectAll(socketOf(sessions[end]))
    })

    test(`the ${end}'s socket, set itself, outlives its session without an error`, async () => {
      const { stderr, code } = await runNode(
        `const http2 = require('node:http2')
         const { setKeepalive } = require('tcp-keepalive')
         // Then the socket is looked at when it closes, after its session.
         require('node:diagnostics_channel').subscribe('tcp-keepalive:dead-peer', () => {})
         const server = http2.createServer()
         const ready = Promise.all([
           new Promise((resolve) => server.on('session', resolve)),
           new Promise((resolve) => server.listen(0, '127.0.0.1', () => {
             const client = http2.connect('http://127.0.0.1:' + server.address().port)
             client.on('connect', () => resolve(client))
           })),
         ])
         ready.then(([server, client]) => {
           const session = ${end}
           setKeepalive(session.socket, true)
           session.destroy()
           session.on('close', () => setTimeout(process.exit, 100))
         })`,
      )
      expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
    })

    test(`no listener is added to the ${end}'s session or socket`, async () => {
      await using sessions = await pair()
      const session = sessions[end]
      const shown = () =>
        [session, socketOf(session)].map((emitter) =>
          emitter.eventNames().map((name) => [name, emitter.listenerCount(name)]),
        )
      const before = shown()
      setAll(session)
      expect(shown()).toEqual(before)
    })

    test(`a destroyed session of the ${end}`, async () => {
      await using sessions = await pair()
      const session = sessions[end]
      session.destroy()
      expect(() => setKeepalive(session, true)).toThrow(
        expect.objectContaining({ code: 'ERR_SOCKET_CLOSED' }),
      )
    })

    test(`a peer that goes silent under the ${end}'s session`, async () => {
      await using sessions = await pair()
      const session = sessions[end]
      // Whether an acknowledgement of the session's own is still under way or not.
      setKeepalive(session, { idle: 1, interval: 1 })
      setUserTimeout(session, 1500)
      const failed = once(session, 'error')
      unplug(socketOf(session))
      const [error] = await failed
      expect(error).toMatchObject({ code: 'ETIMEDOUT' })
      expect(isDeadPeerError(error)).toBe(true)
    })
  }

  test('set while it connects', async () => {
    await using listening = await listen(create())
    const client = connectHttp2(`${scheme}://127.0.0.1:${listening.port}`, options)
    setAll(client)
    await once(client, 'connect')
    expectAll(socketOf(client))
    client.destroy()
  })

  test('the connect is bounded', async () => {
    const silent = await silentPort()
    const client = connectHttp2(`${scheme}://127.0.0.1:${silent.port}`, options)
    setUserTimeout(client, 1500)
    const [error] = await once(client, 'error')
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    await silent.close()
  })
})

test.concurrent('a session over a stream has no TCP options', async () => {
  const client = connectHttp2('http://localhost', {
    createConnection: () => new Duplex({ read() {}, write() {} }),
  })
  client.on('error', () => {})
  expect(() => setKeepalive(client, KEEPALIVE)).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
  )
  client.destroy()
})

// performServerHandshake came with v20.12 and v21.7.
test.concurrent('a server session over a socket that a program has accepted itself', async () => {
  const sessions: ServerHttp2Session[] = []
  await using listening = await listen(
    createTcpServer((socket) => sessions.push(performServerHandshake(socket))),
  )
  const client: ClientHttp2Session = connectHttp2(`http://127.0.0.1:${listening.port}`)
  await once(client, 'connect')
  const [session] = sessions as [ServerHttp2Session]
  session.on('error', () => {})
  setAll(session)
  expectAll(socketOf(session))
  client.destroy()
  await once(client, 'close')
})

test.concurrent('a session over a tunnel is the tunnel', async () => {
  await using listening = await listen(createServer(respond))
  const tunnel = connect(listening.port, '127.0.0.1')
  const client = connectHttp2('http://localhost', { createConnection: () => tunnel })
  setAll(client)
  await once(client, 'connect')
  expectAll(tunnel)
  client.destroy()
})
