/**
 * Real deaths: the peer goes silent (the kernel drops what it sends), and the
 * kernel's verdict is the socket's `'error'`, at the time that the settings say.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import {
  getTcpInfo,
  getUserTimeout,
  isDeadPeerError,
  setKeepalive,
  setUserTimeout,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { connectedPair, type PairOptions } from './support/pair.ts'
import { Stopwatch } from './support/stopwatch.ts'

async function errorOf(socket: Socket, watch: Stopwatch): Promise<NodeJS.ErrnoException> {
  const [error] = await once(socket, 'error')
  watch.stop()
  return error
}

function expectVerdict(error: unknown, syscall: 'read' | 'connect'): void {
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({ code: 'ETIMEDOUT', errno: -110, syscall })
  expect((error as Error).message).toContain(`${syscall} ETIMEDOUT`)
  expect(isDeadPeerError(error)).toBe(true)
}

/** Both ends are connected and idle, then the peer falls silent. */
async function idleDeath(
  prepare: (socket: Socket) => void,
  options: PairOptions = {},
  end: 'client' | 'accepted' = 'client',
): Promise<Stopwatch> {
  await using pair = await connectedPair(options)
  const socket = pair[end]
  const watch = new Stopwatch()
  // What the peer says now acknowledges the end of a TLS handshake, which would else be in flight.
  pair[end === 'client' ? 'accepted' : 'client'].write('ready')
  await once(socket, 'data')
  prepare(socket)
  unplug(socket)
  watch.started()
  expectVerdict(await errorOf(socket, watch), 'read')
  expect(socket.destroyed).toBe(true)
  return watch
}

/** Data is on its way, and nobody acknowledges it. */
async function inFlightDeath(
  prepare: (socket: Socket) => void,
  options: PairOptions = {},
): Promise<Stopwatch> {
  await using pair = await connectedPair(options)
  const { client } = pair
  client.resume()
  prepare(client)
  unplug(client)
  const watch = new Stopwatch()
  client.write('into silence')
  watch.started()
  expectVerdict(await errorOf(client, watch), 'read')
  return watch
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(0.02)
}

const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds))

const SOCKETS: [string, PairOptions][] = [
  ['IPv4', { family: 4 }],
  ['IPv6', { family: 6 }],
  ['v4-mapped', { family: 'mapped' }],
  ['TLS', { tls: true }],
]

describe.concurrent('an idle peer, by count: idle + interval × count', () => {
  for (const [name, options] of SOCKETS) {
    test(`1 + 1 × 2 on ${name}`, async () => {
      const watch = await idleDeath(
        (s) => setKeepalive(s, { idle: 1, interval: 1, count: 2 }),
        options,
      )
      watch.expectWithin(3)
    })
  }

  test('2 + 1 × 1', async () => {
    const watch = await idleDeath((s) => setKeepalive(s, { idle: 2, interval: 1, count: 1 }))
    watch.expectWithin(3)
  })

  test('1 + 2 × 1', async () => {
    const watch = await idleDeath((s) => setKeepalive(s, { idle: 1, interval: 2, count: 1 }))
    watch.expectWithin(3)
  })

  test('the accepted end', async () => {
    const prepare = (socket: Socket) => setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
    const watch = await idleDeath(prepare, {}, 'accepted')
    watch.expectWithin(2)
  })

  test('settings made before the connect', async () => {
    const prepare = (socket: Socket) => setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
    const watch = await idleDeath(() => {}, { prepare })
    watch.expectWithin(2)
  })
})

describe.concurrent('what is not timed out', () => {
  const alive = async (socket: Socket, seconds: number) => {
    const died: unknown[] = []
    socket.on('error', (error) => died.push(error)).on('end', () => died.push('end'))
    await pause(seconds)
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
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 5 })
    const plugIn = unplug(pair.client)
    // Unanswered ones; there are some seconds left for this test to see them.
    await until(() => getTcpInfo(pair.client).probes >= 2)
    plugIn()
    await alive(pair.client, 5)
  })
})

describe.concurrent('data in flight, by user timeout, from the first retransmission', () => {
  for (const [name, options] of SOCKETS) {
    test(`2 s on ${name}`, async () => {
      const watch = await inFlightDeath((s) => setUserTimeout(s, 2000), options)
      watch.expectWithin(2, 2.6)
    })
  }

  test('with keepalive as well, which has no part in it', async () => {
    const watch = await inFlightDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(s, 4000)
    })
    watch.expectWithin(4, 4.6)
  })

  test('set after the data has gone unacknowledged', async () => {
    await using pair = await connectedPair()
    const { client } = pair
    client.resume()
    unplug(client)
    const watch = new Stopwatch()
    client.write('into silence')
    watch.started()
    await pause(1)
    setUserTimeout(client, 3000)
    expectVerdict(await errorOf(client, watch), 'read')
    // The verdict falls at a retransmission, and those are 0.2, 0.4, 0.8, 1.6 s apart.
    watch.expectWithin(3, 3.8)
  })
})

describe.concurrent('a connect without an answer, by user timeout', () => {
  async function connectDeath(ms: number, set: (socket: Socket) => Promise<void> | void) {
    const silent = await silentPort()
    try {
      const watch = new Stopwatch()
      const socket = connect(silent.port, '127.0.0.1')
      await set(socket)
      await pause(0)
      watch.started()
      const error = await errorOf(socket, watch)
      expectVerdict(error, 'connect')
      expect(error).toMatchObject({
        address: '127.0.0.1',
        port: silent.port,
        message: `connect ETIMEDOUT 127.0.0.1:${silent.port}`,
      })
      watch.expectWithin(ms / 1000)
    } finally {
      await silent.close()
    }
  }

  test('set on the same tick', () => connectDeath(2000, (socket) => setUserTimeout(socket, 2000)))

  test('set while the SYN is out', () =>
    connectDeath(3000, async (socket) => {
      await pause(0.2)
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
    const watch = await idleDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(s, 4000)
    })
    watch.expectWithin(4)
  })

  test('count says later: 1 + 1 × 9 is 10 s, the user timeout of 2 s counts', async () => {
    const watch = await idleDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 1, count: 9 })
      setUserTimeout(s, 2000)
    })
    watch.expectWithin(2)
  })

  test('but at a keepalive tick only: 1 + 3 × k, the user timeout of 2 s waits for 4 s', async () => {
    const watch = await idleDeath((s) => {
      setKeepalive(s, { idle: 1, interval: 3, count: 9 })
      setUserTimeout(s, 2000)
    })
    watch.expectWithin(4)
  })

  test('0 gives count back', async () => {
    const watch = await idleDeath((s) => {
      setUserTimeout(s, 20_000)
      setKeepalive(s, { idle: 1, interval: 1, count: 1 })
      setUserTimeout(s, 0)
    })
    watch.expectWithin(2)
  })
})

describe.concurrent('a write into silence starts a new clock', () => {
  const SECONDS = 6
  /** Idle, it would end after 6 s. The data is written before that, when so many probes have gone unanswered. */
  async function writtenAfter(probes: number): Promise<[silence: Stopwatch, write: Stopwatch]> {
    const silence = new Stopwatch()
    await using pair = await connectedPair()
    const { client } = pair
    client.resume()
    setKeepalive(client, { idle: 1, interval: 1, count: 1 })
    setUserTimeout(client, 1000 * SECONDS)
    unplug(client)
    await until(() => getTcpInfo(client).probes >= probes)
    const write = new Stopwatch()
    client.write('into silence')
    write.started()
    const error = await errorOf(client, write)
    silence.stop()
    expectVerdict(error, 'read')
    return [silence, write]
  }

  // The first is sent after a second, as is each that follows.
  for (const probes of [2, 4]) {
    test(`written ${probes} s into it: 6 s from then on, not 6 s from the silence`, async () => {
      const [silence, write] = await writtenAfter(probes)
      write.expectWithin(SECONDS, SECONDS + 0.6)
      silence.expectWithin(probes + SECONDS, Number.POSITIVE_INFINITY)
    })
  }
})
