/**
 * `server.emit('connection', socket)`: sticky sessions, http and https on one port, a server over
 * a connection that goes out. The server sets what it has not accepted as it sets its others.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer as createHttp2Server, createSecureServer } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import { connect, createServer, type Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { connect as connectTls, createServer as createTlsServer, TLSSocket } from 'node:tls'
import {
  getKeepalive,
  isDeadPeerError,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { listen } from './support/listen.ts'
import { ALL_SET, expectAll, setAll, settingsOf, USER_TIMEOUT } from './support/settings.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

interface Handed extends AsyncDisposable {
  /** What the front has accepted. */
  socket: Socket
  client: Socket
  front: Server
}

/** A connection that another server has accepted, and that no listener has seen yet. */
async function handed(prepare: (front: Server) => void = () => {}): Promise<Handed> {
  const front = createServer()
  prepare(front)
  const listening = await listen(front)
  const accepted = once(front, 'connection') as Promise<[Socket]>
  const client = connect(listening.port, '127.0.0.1').on('error', () => {})
  const [socket] = await accepted
  return {
    ...{ socket, client, front },
    async [Symbol.asyncDispose]() {
      client.destroy()
      socket.destroy()
      await listening[Symbol.asyncDispose]()
    },
  }
}

const answer: RequestListener = (_, response) => response.end('here')

describe.concurrent('a server that was set, and that never listens', () => {
  const kinds: [string, () => Server][] = [
    ['net', () => createServer()],
    ['http', () => createHttpServer(answer)],
    ['https', () => createHttpsServer(tlsServerOptions, answer)],
    ['tls', () => createTlsServer(tlsServerOptions)],
    ['http2', () => createHttp2Server()],
    ['http2, secure', () => createSecureServer(tlsServerOptions)],
  ]
  test.each(kinds)(
    '%s: the settings are there in the connection event, and are held',
    async (_, create) => {
      await using connection = await handed()
      const { socket } = connection
      const server = create()
      const seen: unknown[] = []
      server.prependListener('connection', (given) => seen.push(given, settingsOf(given)))
      setAll(server)
      server.emit('connection', socket)
      expect(seen).toEqual([socket, ALL_SET])
      socket.setKeepAlive(true, 1000)
      expectAll(socket)
      socket.setKeepAlive(false)
      expect(getKeepalive(socket)).toMatchObject({ enabled: false })
    },
  )

  test('all listeners removed, and others put there', async () => {
    await using connection = await handed()
    const server = createServer()
    setAll(server)
    server.removeAllListeners('connection')
    const seen: unknown[] = []
    server.on('connection', (socket) => seen.push(settingsOf(socket)))
    expect(server.emit('connection', connection.socket)).toBe(true)
    expect(seen).toEqual([ALL_SET])
  })

  test('a request is answered, and its socket is set: http and https on one port', async () => {
    const sockets: Socket[] = []
    const respond: RequestListener = (request, response) => {
      sockets.push(request.socket)
      response.end('here')
    }
    const http = createHttpServer(respond)
    const https = createHttpsServer(tlsServerOptions, respond)
    setAll(http)
    setAll(https)
    const front = createServer((socket) => {
      socket.once('data', (data) => {
        socket.pause()
        socket.unshift(data)
        ;(data[0] === 0x16 ? https : http).emit('connection', socket)
        process.nextTick(() => socket.resume())
      })
    })
    await using listening = await listen(front)
    const where = { port: listening.port, host: '127.0.0.1' }
    for (const client of [connect(where), connectTls({ ...tlsClientOptions, ...where })]) {
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      const [data] = await once(client, 'data')
      expect(String(data)).toMatch(/^HTTP\/1\.1 200 OK/)
      expectAll(sockets.at(-1) as Socket)
      client.destroy()
    }
    expect(sockets[1]).toBeInstanceOf(TLSSocket)
  })

  test('a TLSSocket that is handed to an http server is set below', async () => {
    const http = createHttpServer(answer)
    setAll(http)
    const front = createTlsServer(tlsServerOptions, (socket) => http.emit('connection', socket))
    await using listening = await listen(front)
    const accepted = once(front, 'secureConnection') as Promise<[TLSSocket]>
    const client = connectTls({ ...tlsClientOptions, port: listening.port, host: '127.0.0.1' })
    const [socket] = await accepted
    expectAll(socket)
    socket.setKeepAlive(true, 1000)
    expectAll(socket)
    client.destroy()
  })

  test('a socket that still connects: set when it is connected', async () => {
    await using listening = await listen(createServer())
    const server = createHttpServer(answer)
    setAll(server)
    const socket = connect(listening.port, '127.0.0.1')
    server.emit('connection', socket)
    await once(socket, 'connect')
    expectAll(socket)
    socket.destroy()
  })

  test('a socket that still connects: its connect is bounded', async () => {
    const silent = await silentPort()
    const server = createServer()
    setUserTimeout(server, 1500)
    const socket = connect(silent.port, '127.0.0.1')
    server.emit('connection', socket)
    const [error] = await once(socket, 'error')
    expect(error).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
    await silent.close()
  })

  test('changed later: what is handed over from then on', async () => {
    const server = createServer()
    setAll(server)
    await using first = await handed()
    server.emit('connection', first.socket)
    setKeepalive(server, { idle: 71 })
    await using second = await handed()
    server.emit('connection', second.socket)
    expect(settingsOf(second.socket)).toEqual({ ...ALL_SET, idle: 71 })
    expectAll(first.socket)
  })

  test.skipIf(process.platform !== 'linux')(
    'a peer that dies is an error, the request in flight',
    async () => {
      await using connection = await handed()
      const server = createHttpServer((request, response) => {
        unplug(request.socket)
        response.write('into the void')
      })
      setDeadPeerTimeout(server, 2000)
      server.emit('connection', connection.socket)
      connection.client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      const [error] = await once(connection.socket, 'error')
      expect(isDeadPeerError(error)).toBe(true)
    },
  )

  test.skipIf(process.platform !== 'linux')(
    'in a child process that is sent the socket',
    async () => {
      const child = fork(join(__dirname, 'support', 'emit-worker.cjs'), { execArgv: [] })
      await once(child, 'message')
      await using listening = await listen(
        createServer({ pauseOnConnect: true }, (socket) => child.send('socket', socket)),
      )
      const client = connect(listening.port, '127.0.0.1').on('error', () => {})
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
      const [seen] = await once(child, 'message')
      expect(seen).toMatchObject({ settings: { enabled: true } })
      const [end] = await once(child, 'message')
      expect(end).toMatchObject({ dead: true })
      client.destroy()
      child.kill()
    },
  )
})

describe.concurrent('what was set before', () => {
  test('on that very socket: it stays, field by field', async () => {
    await using connection = await handed()
    const { socket } = connection
    setKeepalive(socket, { idle: 71 })
    const server = createServer()
    setAll(server)
    server.emit('connection', socket)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71 })
    socket.setKeepAlive(true, 1000)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71 })
    // And is not mistaken for the server's by the next.
    const next = createServer()
    setKeepalive(next, { idle: 73, count: 5 })
    next.emit('connection', socket)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71, count: 5 })
  })

  test('on that very socket, after another server has set it', async () => {
    await using connection = await handed((front) => setKeepalive(front, { idle: 73, count: 5 }))
    const { socket } = connection
    setKeepalive(socket, { interval: 13 })
    const server = createServer()
    setAll(server)
    server.emit('connection', socket)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, interval: 13 })
  })

  test('keepalive turned off on that socket: it stays off', async () => {
    await using connection = await handed()
    const { socket } = connection
    setKeepalive(socket, false)
    const server = createServer()
    setAll(server)
    server.emit('connection', socket)
    expect(settingsOf(socket)).toMatchObject({ enabled: false, userTimeout: USER_TIMEOUT })
  })

  test('on a TLS socket, and on the one below it', async () => {
    const http = createHttpServer(answer)
    setAll(http)
    const front = createTlsServer(tlsServerOptions)
    front.prependListener('connection', (socket) => setKeepalive(socket, { idle: 71 }))
    front.on('secureConnection', (socket) => {
      setUserTimeout(socket, 50_000)
      http.emit('connection', socket)
    })
    await using listening = await listen(front)
    const accepted = once(front, 'secureConnection') as Promise<[TLSSocket]>
    const client = connectTls({ ...tlsClientOptions, port: listening.port, host: '127.0.0.1' })
    const [socket] = await accepted
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71, userTimeout: 50_000 })
    client.destroy()
  })

  test('on the server that has accepted it: the one that it is handed to is the more specific', async () => {
    const server = createServer()
    setKeepalive(server, { idle: 71 })
    await using connection = await handed((front) => {
      setAll(front)
      // While it is being accepted.
      front.on('connection', (socket) => server.emit('connection', socket))
    })
    const { socket } = connection
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71 })
    socket.setKeepAlive(true, 1000)
    expect(settingsOf(socket)).toEqual({ ...ALL_SET, idle: 71 })
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toMatchObject({ enabled: false })
  })

  test('the server emits what it has accepted itself once more: nothing is written', async () => {
    await using connection = await handed(setAll)
    const { socket, front } = connection
    socket.setKeepAlive(false)
    front.emit('connection', socket)
    expect(getKeepalive(socket)).toMatchObject({ enabled: false })
  })

  test('nothing at all: a server that was not set leaves the socket alone, whoever accepted it', async () => {
    await using connection = await handed(setAll)
    createServer().emit('connection', connection.socket)
    expectAll(connection.socket)
  })
})

describe.concurrent('what has no TCP options is passed over', () => {
  test('a Duplex is served', async () => {
    const server = createHttpServer(answer)
    setAll(server)
    const written: string[] = []
    const stream = new Duplex({
      read() {},
      write(chunk, _, callback) {
        written.push(String(chunk))
        callback()
      },
    })
    server.emit('connection', stream)
    stream.push('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    await once(stream, 'finish')
    expect(written.join('')).toMatch(/^HTTP\/1\.1 200 OK/)
  })

  test('a connection over a path', async () => {
    const server = createHttpServer(answer)
    setAll(server)
    const path =
      process.platform === 'win32'
        ? `\\\\.\\pipe\\emit-${process.pid}`
        : join(tmpdir(), `emit-${process.pid}`)
    await using _ = await listen(
      createServer((socket) => server.emit('connection', socket)),
      { path },
    )
    const client = connect(path)
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    expect(String((await once(client, 'data'))[0])).toMatch(/^HTTP\/1\.1 200 OK/)
    client.destroy()
  })

  test('TLS over a stream, a socket without a handle, a destroyed one, nothing', () => {
    const server = createServer()
    setAll(server)
    const overStream = new TLSSocket(new Duplex({ read() {}, write() {} }) as Socket)
    const seen: unknown[] = []
    server.on('connection', (socket) => seen.push(socket))
    const given = [overStream, new Socket(), new Socket().destroy(), undefined, null, 'text']
    for (const each of given) server.emit('connection', each)
    expect(seen).toEqual(given)
    overStream.destroy()
  })
})

describe.concurrent('the emit of the server', () => {
  test('is an own property only where it was set, and not enumerable', () => {
    const plain = createServer()
    const server = createServer()
    setAll(server)
    setUserTimeout(server, 50_000)
    expect(Object.hasOwn(plain, 'emit')).toBe(false)
    expect(Object.keys(server)).toEqual(Object.keys(plain))
    expect(Object.getOwnPropertyDescriptor(server, 'emit')).toMatchObject({ enumerable: false })
  })

  test('calls the one that was there, also where the prototype has another meanwhile', () => {
    class Recording extends (createServer().constructor as new () => Server) {
      events: unknown[] = []
    }
    const server = new Recording()
    const own = createServer()
    const seen: unknown[] = []
    own.emit = (...args) => seen.push(...args) > 0
    setAll(own)
    setAll(server)
    Recording.prototype.emit = function emit(this: Recording, ...args: unknown[]) {
      return this.events.push(args) > 0
    }
    expect(server.emit('a', 1, 2, 3)).toBe(true)
    expect(server.events).toEqual([['a', 1, 2, 3]])
    expect(own.emit('b', 4)).toBe(true)
    expect(seen).toEqual(['b', 4])
    // A derived object is no way to call itself for ever.
    expect(Object.create(server).emit('c')).toBe(true)
  })
})
