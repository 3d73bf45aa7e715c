/** Every option, on every kind of TCP socket: what is set is what the kernel then has. */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import {
  getKeepalive,
  getUserTimeout,
  type KeepaliveOptions,
  type KeepaliveSettings,
  setKeepalive,
  setUserTimeout,
  support,
} from 'tcp-keepalive'
import { describe, expect, test } from 'vitest'
import { connectedPair, type PairOptions } from './support/pair.ts'

interface State extends KeepaliveSettings {
  userTimeout: number
}

const stateOf = (socket: Socket): State => ({
  ...getKeepalive(socket),
  userTimeout: getUserTimeout(socket),
})

/** Sets one thing: `change` differs before, is there afterwards, and nothing else has moved. */
function expectOnly(socket: Socket, change: Partial<State>, set: () => void): void {
  const before = stateOf(socket)
  for (const key of Object.keys(change) as (keyof State)[]) {
    expect(before[key], `${key} before`).not.toBe(change[key])
  }
  set()
  expect(stateOf(socket)).toEqual({ ...before, ...change })
}

const sockets = ([4, 6, 'mapped'] as const).flatMap((family) =>
  [false, true].flatMap((tls) =>
    (['client', 'accepted'] as const).map((end) => ({
      name: `${family === 'mapped' ? 'v4-mapped' : `IPv${family}`}, ${tls ? 'TLS' : 'plain'}, ${end}`,
      pair: { family, tls } satisfies PairOptions,
      end,
    })),
  ),
)

describe.each(sockets)('$name', ({ pair: options, end }) => {
  test('idle, interval and count, each on its own', async () => {
    await using pair = await connectedPair(options)
    const socket = pair[end]
    setKeepalive(socket, true)
    expectOnly(socket, { idle: 60 }, () => setKeepalive(socket, { idle: 60 }))
    expectOnly(socket, { interval: 10 }, () => setKeepalive(socket, { interval: 10 }))
    expectOnly(socket, { count: 3 }, () => setKeepalive(socket, { count: 3 }))
  })

  test('all three at once turn keepalive on', async () => {
    await using pair = await connectedPair(options)
    const socket = pair[end]
    const all = { enabled: true, idle: 60, interval: 10, count: 3 }
    expectOnly(socket, all, () => setKeepalive(socket, { idle: 60, interval: 10, count: 3 }))
  })

  test('true and false turn it on and off', async () => {
    await using pair = await connectedPair(options)
    const socket = pair[end]
    expectOnly(socket, { enabled: true }, () => setKeepalive(socket, true))
    expectOnly(socket, { enabled: false }, () => setKeepalive(socket, false))
  })

  test('the user timeout; 0 gives the default back', async () => {
    await using pair = await connectedPair(options)
    const socket = pair[end]
    expectOnly(socket, { userTimeout: 90_000 }, () => setUserTimeout(socket, 90_000))
    expectOnly(socket, { userTimeout: 0 }, () => setUserTimeout(socket, 0))
  })

  test('the other end of the connection is another socket', async () => {
    await using pair = await connectedPair(options)
    const other = end === 'client' ? pair.accepted : pair.client
    const before = stateOf(other)
    setKeepalive(pair[end], { idle: 60, interval: 10, count: 3 })
    setUserTimeout(pair[end], 90_000)
    expect(stateOf(other)).toEqual(before)
  })
})

const ALL = { idle: 60, interval: 10, count: 3 }
const FIELDS = ['idle', 'interval', 'count'] as const
const subsets = Array.from(
  { length: 8 },
  (_, bits): KeepaliveOptions =>
    Object.fromEntries(
      FIELDS.filter((_, i) => bits & (1 << i)).map((field) => [field, ALL[field]]),
    ),
)

describe('any subset of the fields', () => {
  test.each(subsets)('%o sets these, turns keepalive on and leaves the rest', async (subset) => {
    await using pair = await connectedPair()
    expectOnly(pair.client, { enabled: true, ...subset } as Partial<State>, () =>
      setKeepalive(pair.client, subset),
    )
  })

  test.each(subsets)('%o, the others undefined, is the same', async (subset) => {
    await using pair = await connectedPair()
    const spelt = { idle: undefined, interval: undefined, count: undefined, ...subset }
    expectOnly(pair.client, { enabled: true, ...subset } as Partial<State>, () =>
      setKeepalive(pair.client, spelt),
    )
  })

  test('what an earlier call has set stays', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, ALL)
    expectOnly(pair.client, { interval: 20 }, () => setKeepalive(pair.client, { interval: 20 }))
    expectOnly(pair.client, { enabled: false }, () => setKeepalive(pair.client, false))
    expectOnly(pair.client, { enabled: true }, () => setKeepalive(pair.client, true))
  })

  test('a frozen object and one without a prototype will do', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, Object.freeze({ idle: 61 }))
    setKeepalive(pair.client, Object.assign(Object.create(null), { count: 4 }))
    expect(getKeepalive(pair.client)).toMatchObject({ enabled: true, idle: 61, count: 4 })
  })
})

describe('the whole range', () => {
  test.each([
    { idle: 1, interval: 1, count: 1 },
    { idle: 32767, interval: 999, count: 127 },
  ])('%o', async (options) => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, options)
    expect(getKeepalive(pair.client)).toEqual({ enabled: true, ...options })
  })

  test.each([1, 1000, 2 ** 31 - 1])('a user timeout of %i ms', async (ms) => {
    await using pair = await connectedPair()
    setUserTimeout(pair.client, ms)
    expect(getUserTimeout(pair.client)).toBe(ms)
  })
})

describe('the getters read the kernel', () => {
  const sysctl = (name: string) => Number(readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8'))

  test("an untouched socket has the host's defaults", async () => {
    await using pair = await connectedPair()
    expect(stateOf(pair.client)).toEqual({
      enabled: false,
      idle: sysctl('tcp_keepalive_time'),
      interval: sysctl('tcp_keepalive_intvl'),
      count: sysctl('tcp_keepalive_probes'),
      userTimeout: 0,
    })
  })

  test('what Node itself has set is seen', async () => {
    await using pair = await connectedPair()
    pair.client.setKeepAlive(true, 42_000)
    expect(getKeepalive(pair.client)).toMatchObject({ enabled: true, idle: 42 })
    pair.client.setKeepAlive(false)
    expect(getKeepalive(pair.client)).toMatchObject({ enabled: false })
  })

  test('each answer is an object of its own', async () => {
    await using pair = await connectedPair()
    const first = getKeepalive(pair.client)
    setKeepalive(pair.client, ALL)
    expect(getKeepalive(pair.client)).not.toEqual(first)
    expect(first.enabled).toBe(false)
  })
})

test('TLS in TLS is the TCP socket below both', async () => {
  await using pair = await connectedPair({ tls: true })
  const inner = new TLSSocket(pair.client).on('error', () => {})
  setKeepalive(inner, ALL)
  setUserTimeout(inner, 90_000)
  expect(stateOf(inner)).toEqual({ enabled: true, ...ALL, userTimeout: 90_000 })
  expect(stateOf(pair.client)).toEqual(stateOf(inner))
  inner.destroy()
})

test('support is true for all functions here', () => {
  expect(support).toMatchObject({
    setKeepalive: true,
    getKeepalive: true,
    setUserTimeout: true,
    getUserTimeout: true,
    watch: true,
    unplug: true,
  })
})
