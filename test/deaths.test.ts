/**
 * Real deaths: the peer goes silent (the kernel drops what it sends), and the
 * kernel's verdict is the socket's `'error'`, at the time that the settings say.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { getUserTimeout, isDeadPeerError, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { connectedPair, type PairOptions } from './support/pair.ts'

/** The kernel's timers are never early (but for a tick) and a little late; so is a busy machine. */
const EARLY = 0.1
const LATE = 0.6

interface Death {
  /** Seconds from the start to the `'error'`. */
  seconds: number
  error: NodeJS.ErrnoException
}

async function deathOf(socket: Socket, from = performance.now()): Promise<Death> {
  const [error] = await once(socket, 'error')
  return { seconds: (performance.now() - from) / 1000, error }
}

function expectVerdict(error: unknown, syscall: 'read' | 'connect'): void {
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({ code: 'ETIMEDOUT', errno: -110, syscall })
  expect((error as Error).message).toContain(`${syscall} ETIMEDOUT`)
  expect(isDeadPeerError(error)).toBe(true)
}

function expectWithin(seconds: number, earliest: number, latest = earliest): void {
  expect(seconds).toBeGreaterThan(earliest - EARLY)
  expect(seconds).toBeLessThan(latest + LATE)
}

/** Both ends are connected and idle, then the peer falls silent. */
async function idleDeath(prepare: (socket: Socket) => void, options: PairOptions = {}) {
  await using pair = await connectedPair(options)
  const { client } = pair
  // What the peer says now acknowledges the end of a TLS handshake, which would else be in flight.
  pair.accepted.write('ready')
  await once(client, 'data')
  prepare(client)
  unplug(client)
  const death = await deathOf(client)
  expectVerdict(death.error, 'read')
  expect(client.destroyed).toBe(true)
  return death.seconds
}

/** Data is on its way, and nobody acknowledges it. */
async function inFlightDeath(prepare: (socket: Socket) => void, options: PairOptions = {}) {
  await using pair = await connectedPair(options)
  const { client } = pair
  client.resume()
  prepare(client)
  unplug(client)
  client.write('into silence')
  const death = await deathOf(client)
  expectVerdict(death.error, 'read')
  return death.seconds
}

const SOCKETS: [string, PairOptions][] = [
  ['IPv4', { family: 4 }],
  ['IPv6', { family: 6 }],
  ['v4-mapped', { family: 'mapped' }],
  ['TLS', { tls: true }],
]

describe.concurrent('an idle peer, by count: idle + interval × count', () => {
  for (const [name, options] of SOCKETS) {
    test(`1 + 1 × 2 on ${name}`, async () => {
      expectWithin(
        await idleDeath((s) => setKeepalive(s, { idle: 1, interval: 1, count: 2 }), options),
        3,
      )
    })
  }

  test('2 + 1 × 1', async () => {
    expectWithin(await idleDeath((s) => setKeepalive(s, { idle: 2, interval: 1, count: 1 })), 3)
  })

  test('1 + 2 × 1', async () => {
    expectWithin(await idleDeath((s) => setKeepalive(s, { idle: 1, interval: 2, count: 1 })), 3)
  })

  test('the accepted end', async () => {
    await using pair = await connectedPair()
    pair.accepted.resume()
    setKeepalive(pair.accepted, { idle: 1, interval: 1, count: 1 })
    unplug(pair.accepted)
    const { seconds, error } = await deathOf(pair.accepted)
    expectVerdict(error, 'read')
    expectWithin(seconds, 2)
  })

  test('settings made before the connect', async () => {
    const prepare = (socket: Socket) => setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
    expectWithin(await idleDeath(() => {}, { prepare }), 2)
  })
})

describe.concurrent('who is not given up', () => {
  const alive = async (socket: Socket, seconds: number) => {
    const died: unknown[] = []
    socket.on('error', (error) => died.push(error)).on('end', () => died.push('end'))
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    expect(died).toEqual([])
    expect(socket.destroyed).toBe(false)
  }

  test('an idle peer that answers the probes', async () => {
    await using pair = await connectedPair()
    pair.client.resume()
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 1 })
    setUserTimeout(pair.client, 1000)
    await alive(pair.client, 5)
  })

  test('a silent peer where keepalive is off', async () => {
    await using pair = await connectedPair()
    pair.client.resume()
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 1 })
    setKeepalive(pair.client, false)
    unplug(pair.client)
    await alive(pair.client, 5)
  })

  test('a silent peer with data in flight, where only keepalive is set', async () => {
    await using pair = await connectedPair()
    pair.client.resume()
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 1 })
    unplug(pair.client)
    pair.client.write('into silence')
    await alive(pair.client, 5)
  })

  test('a silent peer with data in flight, once 0 has given the default back', async () => {
    await using pair = await connectedPair()
    pair.client.resume()
    setUserTimeout(pair.client, 1000)
    setUserTimeout(pair.client, 0)
    unplug(pair.client)
    pair.client.write('into silence')
    await alive(pair.client, 5)
  })

  test('a peer whose cable is back in time', async () => {
    await using pair = await connectedPair()
    pair.client.resume()
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 3 })
    const plugIn = unplug(pair.client)
    setTimeout(plugIn, 2500)
    await alive(pair.client, 6)
  })
})

describe.concurrent('data in flight, by user timeout, from the first retransmission', () => {
  for (const [name, options] of SOCKETS) {
    test(`2 s on ${name}`, async () => {
      expectWithin(await inFlightDeath((s) => setUserTimeout(s, 2000), options), 2, 2.6)
    })
  }

  test('with keepalive as well, which has no part in it', async () => {
    const seconds = await inFlightDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(s, 4000)
    })
    expectWithin(seconds, 4, 4.6)
  })

  test('set after the data has gone unacknowledged', async () => {
    await using pair = await connectedPair()
    const { client } = pair
    client.resume()
    unplug(client)
    client.write('into silence')
    const from = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    setUserTimeout(client, 3000)
    const { seconds, error } = await deathOf(client, from)
    expectVerdict(error, 'read')
    // The verdict falls at a retransmission, and those are 0.2, 0.4, 0.8, 1.6 s apart.
    expectWithin(seconds, 3, 3.8)
  })
})

describe.concurrent('a connect that nobody answers, by user timeout', () => {
  async function connectDeath(ms: number, set: (socket: Socket) => Promise<void> | void) {
    const silent = await silentPort()
    try {
      const socket = connect(silent.port, '127.0.0.1')
      const from = performance.now()
      await set(socket)
      const { seconds, error } = await deathOf(socket, from)
      expectVerdict(error, 'connect')
      expect(error).toMatchObject({
        address: '127.0.0.1',
        port: silent.port,
        message: `connect ETIMEDOUT 127.0.0.1:${silent.port}`,
      })
      expectWithin(seconds, ms / 1000)
    } finally {
      await silent.close()
    }
  }

  test('set on the same tick', () => connectDeath(2000, (socket) => setUserTimeout(socket, 2000)))

  test('set while the SYN is out', () =>
    connectDeath(3000, async (socket) => {
      await new Promise((resolve) => setTimeout(resolve, 200))
      expect(socket.connecting).toBe(true)
      setUserTimeout(socket, 3000)
      expect(getUserTimeout(socket)).toBe(3000)
    }))

  test('keepalive has no part in it', () =>
    connectDeath(4000, (socket) => {
      setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(socket, 4000)
    }))
})

describe.concurrent('a user timeout takes the place of count', () => {
  test('count says sooner: 1 + 1 × 1 is 2 s, the user timeout of 4 s counts', async () => {
    const seconds = await idleDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(s, 4000)
    })
    expectWithin(seconds, 4)
  })

  test('count says later: 1 + 1 × 9 is 10 s, the user timeout of 2 s counts', async () => {
    const seconds = await idleDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 1, count: 9 })
      setUserTimeout(s, 2000)
    })
    expectWithin(seconds, 2)
  })

  test('but at a keepalive tick only: 1 + 3 × k, the user timeout of 2 s waits for 4 s', async () => {
    const seconds = await idleDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 3, count: 9 })
      setUserTimeout(s, 2000)
    })
    expectWithin(seconds, 4)
  })

  test('0 gives count back', async () => {
    const seconds = await idleDeath((s) => {
      setUserTimeout(s, 20_000)
      setKeepalive(s, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(s, 0)
    })
    expectWithin(seconds, 2)
  })
})

describe.concurrent('a write into silence starts a new clock', () => {
  /** Keepalive alone would end it after 4 s; the data is written before that. */
  async function writtenAfter(wait: number): Promise<number> {
    await using pair = await connectedPair()
    const { client } = pair
    client.resume()
    setKeepalive(client, { idle: 1, interval: 1, count: 1 })
    setUserTimeout(client, 4000)
    unplug(client)
    const from = performance.now()
    setTimeout(() => client.write('into silence'), wait * 1000)
    const { seconds, error } = await deathOf(client, from)
    expectVerdict(error, 'read')
    return seconds
  }

  test('written after 2.5 s: 4 s from then on, not 4 s from the silence', async () => {
    expectWithin(await writtenAfter(2.5), 6.5, 7.1)
  })

  test('written after 3.2 s: just under twice the user timeout', async () => {
    expectWithin(await writtenAfter(3.2), 7.2, 7.8)
  })
})
