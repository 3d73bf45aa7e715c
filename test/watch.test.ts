/**
 * Sockets that nobody is reading: Node has taken them out of the event loop, and
 * still each death that the kernel decides on is the socket's `'error'`.
 *
 * Cables are really pulled; when the kernel decided is asked of the kernel.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, isDeadPeerError, setKeepalive, setUserTimeout, support } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { closed, DEATHS, deathOf, ended, expectTold, reset, stall } from './support/death.ts'
import { connectedPair, type PairOptions } from './support/pair.ts'

test('this platform can', () => {
  expect(support.watch).toBe(true)
})

const PAIRS: [string, PairOptions][] = [
  ['IPv4', { family: 4 }],
  ['IPv6', { family: 6 }],
  ['IPv4 over an IPv6 socket', { family: 'mapped' }],
  ['TLS', { tls: true }],
]
const ENDS = ['client', 'accepted'] as const
const WAYS = ['idle', 'inFlight'] as const

describe.concurrent('a socket whose buffer is full and that is not being read', () => {
  for (const [kind, options] of PAIRS) {
    for (const end of ENDS) {
      for (const way of WAYS) {
        test(`${kind}, ${end}, ${way}: one error within 100 ms`, async () => {
          await using pair = await connectedPair(options)
          const socket = pair[end]
          await stall(socket, end === 'client' ? pair.accepted : pair.client)
          DEATHS[way](socket)
          const death = await deathOf(socket)
          expectTold(death)
          expect(isDeadPeerError(death.errors[0])).toBe(true)
          expect(death.ended).toBe(false)
        })
      }
    }
  }

  test('it had been read before, and was paused', async () => {
    await using pair = await connectedPair()
    let received = 0
    const paused = once(pair.client, 'pause')
    pair.client.on('data', (chunk) => {
      received += chunk.length
      if (received >= 1 << 20) pair.client.pause()
    })
    const stopped = stall(pair.client, pair.accepted)
    await paused
    await stopped
    expect(pair.client.bytesRead).toBeGreaterThan(1 << 20)
    DEATHS.inFlight(pair.client)
    expectTold(await deathOf(pair.client))
  })

  test('it was set before it was connected', async () => {
    await using pair = await connectedPair({
      prepare: (client) => setUserTimeout(client, 1000),
    })
    await stall(pair.client, pair.accepted)
    unplug(pair.client)
    pair.client.write('x')
    expectTold(await deathOf(pair.client))
  })

  for (const tls of [false, true]) {
    test(`it was accepted by a ${tls ? 'TLS server' : 'server'} that was set`, async () => {
      await using pair = await connectedPair({
        tls,
        prepareServer: (server) => setUserTimeout(server, 1000),
      })
      await stall(pair.accepted, pair.client)
      unplug(pair.accepted)
      pair.accepted.write('x')
      expectTold(await deathOf(pair.accepted))
    })
  }

  test('a hundred die at the same time: each gets its error in time', async () => {
    const pairs = await Promise.all(Array.from({ length: 100 }, () => connectedPair()))
    await Promise.all(pairs.map(({ client, accepted }) => stall(client, accepted)))
    const deaths = pairs.map(({ client }) => {
      DEATHS.idle(client)
      return deathOf(client)
    })
    for (const death of await Promise.all(deaths)) expectTold(death)
    await Promise.all(pairs.map((pair) => pair[Symbol.asyncDispose]()))
  })
})

describe.concurrent('a reset of a socket whose buffer is full is left to Node', () => {
  /**
   * What Node makes of data and a reset that it finds in one go: up to Node 22 a clean end, unless
   * the last of its reads was a full one.
   */
  const endsOf = (received: number) =>
    /^v2[02]\./.test(process.version) && received % FULL_READ !== 0
      ? ['end', 'close(false)']
      : ['error: read ECONNRESET', 'close(true)']
  const FULL_READ = 65_536
  type Setter = typeof setKeepalive | undefined
  const moments: Record<string, [before?: Setter, after?: Setter]> = {
    'without this library': [],
    'it is set before': [setKeepalive],
    'it is set when its peer has reset it': [undefined, setKeepalive],
  }
  for (const [name, [before, after]] of Object.entries(moments)) {
    test(`${name}: no error until it is read; then all the data, and the end that Node makes of it`, async () => {
      await using pair = await connectedPair()
      const { client, accepted } = pair
      before?.(client, true)
      await stall(client, accepted)
      const log: string[] = []
      client.on('end', () => log.push('end'))
      client.on('error', ({ message }) => log.push(`error: ${message}`))
      client.on('close', (hadError) => log.push(`close(${hadError})`))
      accepted.resetAndDestroy()
      while (getTcpInfo(client).state !== 'CLOSE') await sleep(20)
      after?.(client, true)
      // Longer than the error of a dead peer would wait for a reader.
      await sleep(1500)
      expect(log).toEqual([])
      expect(client.destroyed).toBe(false)
      const arrived = getTcpInfo(client).receivedBytes
      let received = 0
      client.on('data', (chunk) => {
        received += chunk.length
      })
      await closed(client)
      expect(received).toBe(arrived)
      expect(log).toEqual(endsOf(received))
    })
  }
})

describe.concurrent('while a socket is still read, the error of a dead peer waits', () => {
  test('until nothing has been read for one second', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    await stall(client, accepted)
    DEATHS.inFlight(client)
    let lastRead = 0
    // Takes a piece every 100 ms, also from a socket that is dead already.
    const timer = setInterval(() => {
      if (client.read(1000) !== null) lastRead = performance.now()
    }, 100)
    const death = deathOf(client)
    let told = 0
    client.on('error', () => {
      told = performance.now()
    })
    while (getTcpInfo(client).state !== 'CLOSE') await sleep(20)
    await sleep(2000)
    expect(client.destroyed).toBe(false)
    clearInterval(timer)
    expect((await death).errors).toMatchObject([{ message: 'read ETIMEDOUT' }])
    expect(told - lastRead).toBeGreaterThanOrEqual(990)
  })

  test('reads before its death included', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    await stall(client, accepted)
    DEATHS.inFlight(client)
    const deadly = deathOf(client)
    // The last time, some moments before the kernel ends the connection.
    let lastRead = 0
    for (const begin = performance.now(); lastRead < begin + 800; lastRead = performance.now()) {
      await sleep(100)
      expect(client.read(1000)).toHaveLength(1000)
    }
    const death = await deadly
    expect(death.errors).toMatchObject([{ message: 'read ETIMEDOUT' }])
    // What is left of that second, and two tenths that pass after every death.
    expect(performance.now() - lastRead).toBeGreaterThanOrEqual(990)
  })
})

describe.concurrent('a half-open socket that has read its end', () => {
  async function halfOpen(socket: Socket, peer: Socket): Promise<void> {
    reset(peer)
    socket.resume()
    peer.end('the last words')
    await ended(socket)
    expect(getTcpInfo(socket).state).toBe('CLOSE_WAIT')
    expect(socket.destroyed).toBe(false)
  }

  for (const tls of [false, true]) {
    for (const end of ENDS) {
      for (const way of WAYS) {
        test(`${tls ? 'TLS' : 'plain'}, ${end}, ${way}: one error within 100 ms`, async () => {
          await using pair = await connectedPair({ tls, allowHalfOpen: true })
          const socket = pair[end]
          await halfOpen(socket, end === 'client' ? pair.accepted : pair.client)
          DEATHS[way](socket)
          expectTold(await deathOf(socket))
        })
      }
    }
  }

  for (const set of [undefined, setKeepalive]) {
    test(`its peer resets it: Node never finds that, ${set === undefined ? 'without' : 'nor with'} this library`, async () => {
      await using pair = await connectedPair({ allowHalfOpen: true })
      set?.(pair.client, true)
      await halfOpen(pair.client, pair.accepted)
      const errors: Error[] = []
      pair.client.on('error', (error) => errors.push(error))
      pair.accepted.resetAndDestroy()
      while (getTcpInfo(pair.client).state !== 'CLOSE') await sleep(20)
      await sleep(1500)
      expect(errors).toEqual([])
      expect(pair.client.destroyed).toBe(false)
    })
  }
})

describe.concurrent('a healthy socket is left alone', () => {
  test('stalled for three seconds with keepalive and probes: then read to the last byte', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 2 })
    const size = 4 << 20
    await stall(pair.client, pair.accepted)
    await sleep(3000)
    expect(pair.client.destroyed).toBe(false)
    let received = 0
    pair.client.on('data', (chunk) => {
      received += chunk.length
      if (received === size) pair.accepted.end()
    })
    await once(pair.client, 'end')
    expect(received).toBe(size)
  })

  test('the cable is pulled and plugged in again in time', async () => {
    await using pair = await connectedPair()
    // Longer than the test can be held up by others.
    setUserTimeout(pair.client, 20_000)
    await stall(pair.client, pair.accepted)
    const errors: Error[] = []
    pair.client.on('error', (error) => errors.push(error))
    {
      using _cable = unplug(pair.client)
      pair.client.write('x')
      while (getTcpInfo(pair.client).retransmits < 2) await sleep(20)
    }
    while (getTcpInfo(pair.client).unacknowledgedSegments > 0) await sleep(20)
    await sleep(500)
    expect(getTcpInfo(pair.client).state).toBe('ESTABLISHED')
    expect(errors).toEqual([])
    expect(pair.client.destroyed).toBe(false)
  })

  test('half open and alive', async () => {
    await using pair = await connectedPair({ allowHalfOpen: true })
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 1 })
    pair.client.resume()
    pair.accepted.resume()
    pair.accepted.end()
    await ended(pair.client)
    await sleep(3000)
    expect(pair.client.destroyed).toBe(false)
    const received = once(pair.accepted, 'end')
    pair.client.end('still here')
    await received
    expect(pair.accepted.bytesRead).toBe('still here'.length)
  })
})

describe.concurrent("the peer's orderly end is no error and keeps its order", () => {
  test('buffered data is read first, then the end, whenever it is read', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, true)
    const log: string[] = []
    pair.client.on('error', (error) => log.push(error.message))
    pair.client.on('end', () => log.push('end'))
    pair.client.on('close', (hadError) => log.push(`close(${hadError})`))
    const size = 4 << 20
    pair.accepted.end(Buffer.alloc(size))
    await sleep(500)
    expect(log).toEqual([])
    let received = 0
    pair.client.on('data', (chunk) => {
      received += chunk.length
    })
    await once(pair.client, 'close')
    expect(received).toBe(size)
    expect(log).toEqual(['end', 'close(false)'])
  })

  test('also when both have ended and nothing has been read yet', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, true)
    const data = Buffer.alloc(120_000, 'x')
    pair.client.on('error', expect.unreachable)
    pair.accepted.resume()
    pair.client.end()
    pair.accepted.end(data)
    await sleep(500)
    expect(pair.client.destroyed).toBe(false)
    const chunks: Buffer[] = []
    for await (const chunk of pair.client) chunks.push(chunk)
    expect(Buffer.concat(chunks)).toEqual(data)
  })
})

describe.concurrent('where it is not available', () => {
  // Setting, and what Node tells by itself, go on; the error waits until somebody reads.
  const SCENE = `
    const { once } = require('node:events')
    const { connect, createServer } = require('node:net')
    const { setTimeout: sleep } = require('node:timers/promises')
    const { getTcpInfo, setUserTimeout, support } = require('tcp-keepalive')
    const { unplug } = require('tcp-keepalive/testing')
    ;(async () => {
      const server = createServer((peer) => peer.on('error', () => {}).write(Buffer.alloc(1 << 20))).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const socket = connect(server.address().port, '127.0.0.1')
      await once(socket, 'connect')
      await sleep(200)
      setUserTimeout(socket, 1000)
      const log = []
      socket.on('error', ({ message }) => log.push(message))
      socket.on('end', () => log.push('end'))
      unplug(socket)
      socket.write('x')
      while (getTcpInfo(socket).state !== 'CLOSE') await sleep(20)
      await sleep(300)
      const unread = [...log]
      socket.resume()
      await new Promise((resolve) => socket.once('close', resolve))
      console.log(JSON.stringify({ watch: typeof support.watch, unread, ends: log.length }))
      process.exit()
    })()
  `
  const WAYS_TO_LACK = {
    'Bun, which aborts when an add-on calls into libuv': `
      Object.defineProperty(process, 'versions', { value: { ...process.versions, bun: '1.4' } })
      const { binding } = require('./dist/native.js').native()
      binding.open = () => { throw new Error('called into libuv') }
    `,
    'a host without libuv': `
      require('./dist/native.js').native().binding.open = () => -38
    `,
  }
  for (const [name, before] of Object.entries(WAYS_TO_LACK)) {
    test(`${name}: support says so and nothing breaks`, async () => {
      expect(await answerOf<unknown>(before + SCENE)).toEqual({
        watch: 'string',
        unread: [],
        ends: 1,
      })
    })
  }
})
