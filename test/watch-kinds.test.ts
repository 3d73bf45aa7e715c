/** Every kind of TCP connection: nobody reads, the peer dies, the user is told where Node would tell. */
import { once } from 'node:events'
import {
  Agent,
  type ClientRequest,
  createServer as createHttp,
  get,
  type IncomingMessage,
  request,
} from 'node:http'
import {
  type ClientHttp2Stream,
  connect as connectHttp2,
  createServer as createHttp2,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { Worker } from 'node:worker_threads'
import { getTcpInfo, isDeadPeerError, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { runNode } from './support/child.ts'
import { closed, DEATHS, deathOf, expectTold, stall, stalled } from './support/death.ts'
import { connectedPair } from './support/pair.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Never takes the second chunk. */
function stuck(): Writable {
  return new Writable({ write() {} })
}

describe.concurrent('http', () => {
  test('a request whose body is not being read: clientError on the server, aborted on the request', async () => {
    const server = createHttp()
    setUserTimeout(server, 1000)
    const port = await listening(server)
    const client = request({ port, host: '127.0.0.1', method: 'POST', agent: false })
    client.on('error', () => {})
    client.write(Buffer.alloc(4 << 20))
    const [incoming] = (await once(server, 'request')) as [IncomingMessage]
    const { socket } = incoming
    await stalled(socket)
    const clientErrors: Error[] = []
    server.on('clientError', (error, broken) => {
      clientErrors.push(error)
      broken.destroy(error)
    })
    const fromRequest = new Promise((resolve) => incoming.once('error', resolve))
    unplug(socket)
    socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    const death = await deathOf(socket)
    expectTold(death)
    expect(clientErrors).toEqual(death.errors)
    // What Node makes of any lost connection on its server's side.
    expect(await fromRequest).toMatchObject({ code: 'ECONNRESET', message: 'aborted' })
    client.destroy()
    server.close()
  })

  test('a response pipe that is backed up', async () => {
    const server = createHttp((_, response) => {
      response.on('error', () => {})
      response.end(Buffer.alloc(8 << 20))
    })
    const port = await listening(server)
    const outgoing = get({ port, host: '127.0.0.1', agent: new Agent({ keepAlive: true }) })
    outgoing.on('error', () => {})
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    const piped = pipeline(response, stuck()).catch((error: unknown) => error)
    const { socket } = response
    await stalled(socket)
    DEATHS.idle(socket)
    expectTold(await deathOf(socket))
    expect(await piped).toMatchObject({ code: 'ECONNRESET', message: 'aborted' })
    server.close()
    server.closeAllConnections()
  })

  test('a response that does not come, on a socket that is still being read: Node reports the error, once', async () => {
    const server = createHttp(() => {})
    const port = await listening(server)
    const outgoing: ClientRequest = get({ port, host: '127.0.0.1', agent: false })
    const [socket] = (await once(outgoing, 'socket')) as [Socket]
    await once(server, 'request')
    DEATHS.idle(socket)
    const errors: unknown[] = []
    outgoing.on('error', (error) => errors.push(error))
    await closed(outgoing)
    await sleep(150)
    expect(errors).toHaveLength(1)
    expect(isDeadPeerError(errors[0])).toBe(true)
    server.close()
    server.closeAllConnections()
  })

  test('upgraded, and then not read', async () => {
    const server = createHttp()
    setUserTimeout(server, 1000)
    const port = await listening(server)
    const outgoing = request({
      port,
      host: '127.0.0.1',
      headers: { connection: 'upgrade', upgrade: 'test' },
    })
    outgoing.end()
    const [, accepted] = (await once(server, 'upgrade')) as [IncomingMessage, Socket]
    accepted.write(
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n',
    )
    const [, client] = (await once(outgoing, 'upgrade')) as [IncomingMessage, Socket]
    await stall(accepted, client)
    unplug(accepted)
    accepted.write('x')
    expectTold(await deathOf(accepted))
    client.destroy()
    server.close()
  })
})

describe.concurrent('http2', () => {
  test('a session whose stream is not being read: one error, on session and stream', async () => {
    const server = createHttp2()
    setUserTimeout(server, 1000)
    const port = await listening(server)
    const client = connectHttp2(`http://127.0.0.1:${port}`)
    client.on('error', () => {})
    const [session] = (await once(server, 'session')) as [ServerHttp2Session]
    const outgoing: ClientHttp2Stream = client.request({ ':method': 'POST' })
    outgoing.on('error', () => {})
    outgoing.write(Buffer.alloc(4 << 20))
    const [stream] = (await once(server, 'stream')) as [ServerHttp2Stream]
    const errors: unknown[] = []
    session.on('error', (error) => errors.push(error))
    const streamErrors: unknown[] = []
    stream.on('error', (error) => streamErrors.push(error))
    await sleep(100)
    // What comes back from `off` is the socket itself, where `session.socket` is a guard.
    const socket = session.socket.off('close', () => {}) as Socket
    unplug(socket)
    session.ping(() => {})
    await closed(session)
    await sleep(150)
    expect(errors).toHaveLength(1)
    expect(isDeadPeerError(errors[0])).toBe(true)
    expect(streamErrors).toHaveLength(1)
    expect(socket.destroyed).toBe(true)
    client.destroy()
    server.close()
  })
})

describe.concurrent('TLS laid over a socket that was set (STARTTLS)', () => {
  async function upgraded(set: (socket: Socket) => void) {
    const server = createServer()
    const port = await listening(server)
    const raw = connect(port, '127.0.0.1')
    const [[rawAccepted]] = await Promise.all([once(server, 'connection'), once(raw, 'connect')])
    set(raw)
    const accepted = new TLSSocket(rawAccepted, { isServer: true, ...tlsServerOptions })
    const client = connectTls({ socket: raw, ...tlsClientOptions })
    await once(client, 'secureConnect')
    server.close()
    return { raw, rawAccepted, client, accepted }
  }

  test('the TLSSocket dies with the error, the socket below without', async () => {
    const { raw, client, accepted } = await upgraded((socket) => setUserTimeout(socket, 1000))
    const below: unknown[] = []
    raw.on('error', (error) => below.push(error))
    raw.on('close', (hadError) => below.push(`close(${hadError})`))
    await stall(client, accepted)
    unplug(client)
    client.write('x')
    expectTold(await deathOf(client))
    expect(below).toEqual(['close(false)'])
    expect(raw.destroyed).toBe(true)
    accepted.destroy()
  })

  test('a reset is left to Node', async () => {
    const { client, accepted, rawAccepted } = await upgraded((socket) => setKeepalive(socket, true))
    await stall(client, accepted)
    const errors: Error[] = []
    client.on('error', (error) => errors.push(error))
    rawAccepted.resetAndDestroy()
    while (getTcpInfo(client).state !== 'CLOSE') await sleep(20)
    await sleep(1500)
    expect(errors).toEqual([])
    expect(client.destroyed).toBe(false)
    client.destroy()
  })
})

test.concurrent('descriptors that are reused at once: only the dead die, and each its own death', async () => {
  await using first = await connectedPair()
  await stall(first.client, first.accepted)
  const number = descriptor(first.client)
  const accepted: Socket[] = []
  const server = createServer((socket) => accepted.push(socket))
  const port = await listening(server)
  const reused: Socket[] = []
  const unexpected: unknown[] = []
  DEATHS.inFlight(first.client)
  const firstDeath = deathOf(first.client)
  first.client.once('close', () => {
    for (let i = 0; i < 20; i++) {
      const socket = connect(port, '127.0.0.1')
      setUserTimeout(socket, 30_000)
      socket.on('error', (error) => unexpected.push(error))
      reused.push(socket)
    }
  })
  expectTold(await firstDeath)
  while (accepted.length < reused.length) await sleep(20)
  await sleep(300)
  expect(unexpected).toEqual([])
  expect(reused.filter((socket) => socket.destroyed)).toEqual([])

  const next = reused.find((socket) => descriptor(socket) === number) as Socket
  const peer = accepted.find((socket) => socket.remotePort === next.localPort) as Socket
  await stall(next, peer)
  DEATHS.inFlight(next)
  expectTold(await deathOf(next))
  expect(unexpected).toHaveLength(1)
  for (const socket of [...reused, ...accepted]) socket.destroy()
  server.close()
})

function descriptor(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd
}

describe('workers', () => {
  test('a socket that is not being read gets its error in a worker as in the main thread', async () => {
    const worker = new Worker(join(__dirname, 'support', 'stalled-death.cjs'))
    const [death] = await once(worker, 'message')
    expect(death).toEqual({ message: 'read ETIMEDOUT', errno: -110, hadError: true })
    expect(await once(worker, 'exit')).toEqual([0])
  })

  for (const how of ['end by themselves', 'are terminated'] as const) {
    test(`twenty that watch ${how}: nothing crashes where only workers have the add-on`, async () => {
      expect(await runNode(twenty(how === 'are terminated'))).toEqual({
        code: 0,
        signal: null,
        stdout: '20 workers are gone\n',
        stderr: '',
      })
    })
  }
})

/** Each worker ends, or is ended, while its watcher has just been given a death to tell. */
function twenty(terminate: boolean): string {
  return `
    const { Worker } = require('node:worker_threads')
    let gone = 0
    for (let i = 0; i < 20; i++) {
      const worker = new Worker(require.resolve('./test/support/watching-worker.cjs'))
      worker.on('message', () => { ${terminate ? 'worker.terminate()' : "worker.postMessage('end')"} })
      worker.on('error', (error) => { console.log(error) })
      worker.on('exit', () => { if (++gone === 20) console.log('20 workers are gone') })
    }
  `
}
