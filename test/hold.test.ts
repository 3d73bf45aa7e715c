/**
 * What was set stays set: `setKeepAlive(true, …)` of Node, agents and drivers
 * changes nothing in the kernel on a socket that this library set.
 */
import { once } from 'node:events'
import { connect, createServer, Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { getKeepalive, type KeepaliveSettings, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { describe, expect, test } from 'vitest'
import { runNode } from './support/child.ts'
import { listen } from './support/listen.ts'
import { connectedPair } from './support/pair.ts'
import { KEEPALIVE } from './support/settings.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

const LOCKED: KeepaliveSettings = { enabled: true, ...KEEPALIVE }

/** Node's own call in every form that some version knows; older ones ignore what they do not. */
const FORMS: readonly (readonly unknown[])[] = [
  [true],
  [true, 0],
  [true, 1000],
  [true, 5000, 2000, 7],
  [true, 500_000, 200, 200],
  [{ enable: true, initialDelay: 5000, interval: 2000, count: 7 }],
]

const nodeSetKeepAlive = (socket: Socket, form: readonly unknown[]): unknown =>
  Reflect.apply(socket.setKeepAlive, socket, form)

/** Since v24.19 and v26.4 Node's call takes an interval and a count as well. */
const NODE_SETS_INTERVAL = (() => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 26 || (major === 26 && minor >= 4) || (major === 24 && minor >= 19)
})()

const kinds = [false, true].flatMap((tls) =>
  (['client', 'accepted'] as const).map((end) => ({
    name: `${tls ? 'TLS' : 'plain'}, ${end}`,
    tls,
    end,
  })),
)

describe.concurrent.each(kinds)('$name', ({ tls, end }) => {
  test.each(FORMS)(
    'setKeepAlive(%j, %j, %j, %j) changes nothing, and is chainable',
    async (...form) => {
      await using pair = await connectedPair({ tls })
      const socket = pair[end]
      setKeepalive(socket, KEEPALIVE)
      expect(nodeSetKeepAlive(socket, form)).toBe(socket)
      expect(getKeepalive(socket)).toEqual(LOCKED)
    },
  )

  test('a repeat of what Node did last changes nothing', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    socket.setKeepAlive(true, 5000)
    expect(getKeepalive(socket)).toMatchObject({ enabled: true, idle: 5 })
    setKeepalive(socket, KEEPALIVE)
    socket.setKeepAlive(true, 5000)
    expect(getKeepalive(socket)).toEqual(LOCKED)
  })

  test('setKeepAlive(false) is obeyed and unlocks the socket', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    setKeepalive(socket, KEEPALIVE)
    expect(socket.setKeepAlive(false)).toBe(socket)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, enabled: false })
    socket.setKeepAlive(true, 5000)
    expect(getKeepalive(socket)).toMatchObject({ enabled: true, idle: 5 })
  })

  test('setKeepAlive(false) is obeyed after calls that were ignored', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    setKeepalive(socket, KEEPALIVE)
    socket.setKeepAlive(true, 1000)
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, enabled: false })
  })

  test('a new setKeepalive replaces the settings, and locks again after setKeepAlive(false)', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    setKeepalive(socket, KEEPALIVE)
    setKeepalive(socket, { idle: 71 })
    socket.setKeepAlive(true, 1000)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, idle: 71 })
    socket.setKeepAlive(false)
    setKeepalive(socket, { idle: 81 })
    socket.setKeepAlive(true, 1000)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, idle: 81 })
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, idle: 81, enabled: false })
  })

  test('setKeepalive(false) locks as well: setKeepAlive(true) does not turn keepalive on', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    setKeepalive(socket, false)
    socket.setKeepAlive(true, 1000)
    expect(getKeepalive(socket)).toMatchObject({ enabled: false })
  })

  test('a user timeout alone does not lock: setKeepAlive works as in Node', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    setUserTimeout(socket, 91_000)
    nodeSetKeepAlive(socket, [true, 5000, 2000, 7])
    expect(getKeepalive(socket)).toEqual({
      enabled: true,
      idle: 5,
      interval: NODE_SETS_INTERVAL ? 2 : 1,
      count: NODE_SETS_INTERVAL ? 7 : 10,
    })
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toMatchObject({ enabled: false })
  })

  test('the socket shows nothing of it: no property, no listener, the method of the prototype', async () => {
    await using pair = await connectedPair({ tls })
    const socket = pair[end]
    const shown = () => ({
      enumerable: Object.keys(socket),
      names: Object.getOwnPropertyNames(socket),
      ofHandle: Object.keys((socket as unknown as { _handle: object })._handle),
      listeners: socket.eventNames().map((name) => [name, socket.listenerCount(name)]),
    })
    const before = shown()
    setKeepalive(socket, KEEPALIVE)
    setUserTimeout(socket, 91_000)
    expect(shown()).toEqual(before)
    expect(socket.setKeepAlive).toBe(Socket.prototype.setKeepAlive)
  })
})

describe.concurrent("Node's own keepAlive option of net.connect", () => {
  const options = { host: '127.0.0.1', keepAlive: true, keepAliveInitialDelay: 5000 }

  test('by itself sets 5/1/10 at the connect', async () => {
    await using server = await listen(createServer())
    const socket = connect({ ...options, port: server.port })
    await once(socket, 'connect')
    expect(getKeepalive(socket)).toEqual({ enabled: true, idle: 5, interval: 1, count: 10 })
    socket.destroy()
  })

  test('does not win over what was set before the connect', async () => {
    await using server = await listen(createServer())
    const socket = connect({ ...options, port: server.port })
    setKeepalive(socket, KEEPALIVE)
    await once(socket, 'connect')
    expect(getKeepalive(socket)).toEqual(LOCKED)
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, enabled: false })
    socket.destroy()
  })

  test('is replaced by what is set afterwards', async () => {
    await using server = await listen(createServer())
    const socket = connect({ ...options, port: server.port })
    await once(socket, 'connect')
    setKeepalive(socket, KEEPALIVE)
    socket.setKeepAlive(true, 5000)
    expect(getKeepalive(socket)).toEqual(LOCKED)
    socket.destroy()
  })

  test('nor does setKeepAlive(true) that was called before the connect, in either order', async () => {
    await using server = await listen(createServer())
    for (const first of ['node', 'ours']) {
      const socket = new Socket()
      if (first === 'node') socket.setKeepAlive(true, 5000)
      setKeepalive(socket, KEEPALIVE)
      if (first === 'ours') socket.setKeepAlive(true, 5000)
      socket.connect(server.port, '127.0.0.1')
      await once(socket, 'connect')
      expect(getKeepalive(socket), `${first} first`).toEqual(LOCKED)
      socket.destroy()
    }
  })

  test('setKeepAlive(false) before there is a descriptor is a note that only Node takes', async () => {
    await using server = await listen(createServer())
    const socket = new Socket()
    setKeepalive(socket, KEEPALIVE)
    socket.setKeepAlive(false)
    socket.connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    expect(getKeepalive(socket)).toEqual(LOCKED)
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, enabled: false })
    socket.destroy()
  })

  test('tls.connect does not win either', async () => {
    await using pair = await connectedPair({ tls: true })
    const socket = connectTls(
      Object.assign({ ...tlsClientOptions, ...options }, { port: addressOf(pair.server) }),
    )
    setKeepalive(socket, KEEPALIVE)
    await once(socket, 'secureConnect')
    expect(getKeepalive(socket)).toEqual(LOCKED)
    socket.setKeepAlive(true, 1000)
    expect(getKeepalive(socket)).toEqual(LOCKED)
    socket.setKeepAlive(false)
    expect(getKeepalive(socket)).toEqual({ ...LOCKED, enabled: false })
    socket.destroy()
  })
})

const addressOf = (server: { address(): unknown }): number =>
  (server.address() as { port: number }).port

describe.concurrent('a TLS socket over a set socket has a cache of its own', () => {
  test('its setKeepAlive(true, …) changes nothing', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.accepted, KEEPALIVE)
    setKeepalive(pair.client, KEEPALIVE)
    const secured = new TLSSocket(pair.accepted, { isServer: true, ...tlsServerOptions })
    const client = connectTls({ ...tlsClientOptions, socket: pair.client })
    await once(client, 'secureConnect')
    for (const socket of [secured, client]) {
      socket.setKeepAlive(true, 1000)
      expect(getKeepalive(socket)).toEqual(LOCKED)
    }
  })

  test('its setKeepAlive(false) is obeyed', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.accepted, KEEPALIVE)
    setKeepalive(pair.client, KEEPALIVE)
    const secured = new TLSSocket(pair.accepted, { isServer: true, ...tlsServerOptions })
    const client = connectTls({ ...tlsClientOptions, socket: pair.client })
    await once(client, 'secureConnect')
    for (const socket of [secured, client]) {
      socket.setKeepAlive(false)
      expect(getKeepalive(socket)).toEqual({ ...LOCKED, enabled: false })
    }
  })

  test('a socket that is unlocked by then stays unlocked', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, KEEPALIVE)
    const client = connectTls({ ...tlsClientOptions, socket: pair.client })
    pair.client.setKeepAlive(false)
    client.on('error', () => {})
    await new Promise(setImmediate)
    expect(getKeepalive(client)).toEqual({ ...LOCKED, enabled: false })
    client.setKeepAlive(true)
    expect(getKeepalive(client)).toMatchObject({ enabled: true })
    client.destroy()
  })
})

test('a handle on which somebody has put a setKeepAlive of their own keeps it', async () => {
  await using pair = await connectedPair()
  const { _handle: handle } = pair.client as unknown as { _handle: Record<string, unknown> }
  const calls: unknown[][] = []
  handle.setKeepAlive = (...args: unknown[]) => calls.push(args)
  setKeepalive(pair.client, KEEPALIVE)
  calls.length = 0
  pair.client.setKeepAlive(true, 5000)
  expect(calls[0]?.slice(0, 2)).toEqual([true, 5])
  expect(getKeepalive(pair.client)).toEqual(LOCKED)
})

test('NODE_DEBUG=tcp-keepalive logs ignored calls, and when the socket is unlocked', async () => {
  const { code, stdout, stderr } = await runNode(
    `const { setKeepalive, getKeepalive } = require('tcp-keepalive')
     const { connect, createServer } = require('node:net')
     const server = createServer((peer) => peer.resume()).listen(0, '127.0.0.1', () => {
       const socket = connect(server.address().port, '127.0.0.1', () => {
         setKeepalive(socket, ${JSON.stringify(KEEPALIVE)})
         console.error('one')
         socket.setKeepAlive(true, 1000)
         console.error('two')
         socket.setKeepAlive(false)
         console.error('three')
         socket.setKeepAlive(true, 1000)
         console.log(JSON.stringify(getKeepalive(socket)))
         socket.destroy()
         server.close()
       })
     })`,
    { env: { NODE_DEBUG: 'tcp-keepalive' } },
  )
  expect(code).toBe(0)
  const [, ignored = '', ended = '', free = ''] = stderr.split(/^one$|^two$|^three$/m)
  expect(ignored).toMatch(
    /TCP-KEEPALIVE \d+: setKeepAlive\(true, …\) is ignored on descriptor \d+$/m,
  )
  expect(ended).toMatch(/TCP-KEEPALIVE \d+: setKeepAlive\(false\) is obeyed on descriptor \d+$/m)
  expect(free).not.toMatch(/TCP-KEEPALIVE/)
  expect(JSON.parse(stdout)).toEqual({ enabled: true, idle: 1, interval: 1, count: 10 })
})
