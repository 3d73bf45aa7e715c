import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  detectionTime,
  getKeepalive,
  getTcpInfo,
  getUserTimeout,
  planDeadPeerTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  systemDefaults,
} from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { settingsOf } from 'tcp-keepalive/dead-peer'
import { deadPeerPlan } from 'tcp-keepalive/kernel/plan'
import { apply } from 'tcp-keepalive/targets/apply'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { connectedPair, type Pair } from './support/pair.ts'
import { Stopwatch } from './support/stopwatch.ts'

const MS = 4000

/** The ways in which the same promise is kept. */
const ways: Record<string, (socket: Socket) => unknown> = {
  "slowReader 'keep'": (socket) => setDeadPeerTimeout(socket, MS),
  "slowReader 'keep', a kernel without TCP_RTO_MAX_MS": (socket) => {
    const { rtoMax: _, ...older } = systemDefaults()
    const plan = deadPeerPlan(MS, 'keep', older)
    expect(plan.rtoMax).toBe(null)
    apply(socket, settingsOf(plan))
  },
  "slowReader 'end'": (socket) => setDeadPeerTimeout(socket, MS, { slowReader: 'end' }),
}

/** `watch`: from when the peer may have been silent already. Its silence begins now at the latest. */
async function deathOf(socket: Socket, watch = new Stopwatch()): Promise<NodeJS.ErrnoException> {
  watch.started()
  const [error] = await once(socket, 'error')
  watch.stop()
  watch.expectWithin((0.7 * MS) / 1000, MS / 1000, { early: 0, late: 1 })
  return error
}

function expectTold(error: NodeJS.ErrnoException): void {
  expect(error).toMatchObject({ code: 'ETIMEDOUT', errno: -110, syscall: 'read' })
  expect(error.message).toBe('read ETIMEDOUT')
}

/** Writes until the peer, which does not read, has closed its window; from when it was last open. */
async function closeWindow({ client, accepted }: Pair): Promise<Stopwatch> {
  accepted.pause()
  const chunk = Buffer.alloc(256 * 1024)
  const write = (): void => {
    while (client.write(chunk));
  }
  client.on('drain', write)
  write()
  for (;;) {
    const open = new Stopwatch()
    await sleep(50)
    const { sendWindowBytes, unacknowledgedSegments, notSentBytes } = getTcpInfo(client)
    if (sendWindowBytes === 0 || (unacknowledgedSegments === 0 && notSentBytes > 0)) return open
    open.stop()
  }
}

for (const [way, set] of Object.entries(ways)) {
  describe.concurrent(`a silent peer is an error within ${MS} ms: ${way}`, () => {
    for (const tls of [false, true]) {
      test(`idle${tls ? ', TLS' : ''}`, async () => {
        await using pair = await connectedPair({ tls, prepare: set })
        unplug(pair.client)
        expectTold(await deathOf(pair.client))
      })

      test(`in flight${tls ? ', TLS' : ''}`, async () => {
        await using pair = await connectedPair({ tls })
        set(pair.client)
        // A silence before the write is not the write's.
        await sleep(MS / 2)
        unplug(pair.client)
        pair.client.write('are you there?')
        expectTold(await deathOf(pair.client))
      })
    }

    // Without TCP_RTO_MAX_MS six probes, which double their distance, must go unanswered.
    const isLate = way.includes("'keep'") && systemDefaults().rtoMax === undefined
    test.skipIf(isLate)('its window is closed, and then it dies', async () => {
      await using pair = await connectedPair({ prepare: set })
      const open = await closeWindow(pair)
      unplug(pair.client)
      expectTold(await deathOf(pair.client, open))
    })

    test('accepted by a server that was set', async () => {
      await using pair = await connectedPair({ prepareServer: (server) => set(server as never) })
      unplug(pair.accepted)
      pair.accepted.write('are you there?')
      expectTold(await deathOf(pair.accepted))
    })

    test('a connect without an answer', async () => {
      const { port, close } = await silentPort()
      const socket = connect(port, '127.0.0.1')
      set(socket)
      expect(await deathOf(socket)).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect' })
      await close()
    })
  })

  test.concurrent(`a live peer that does not read for 3 × ${MS} ms: ${way}`, async () => {
    await using pair = await connectedPair({ prepare: set })
    const errors: Error[] = []
    pair.client.on('error', (error) => errors.push(error))
    await closeWindow(pair)
    await sleep(3 * MS)
    expect(errors.map(({ message }) => message)).toEqual(
      way === "slowReader 'end'" ? ['read ETIMEDOUT'] : [],
    )
    if (errors.length > 0) return
    // And it goes on where it stopped.
    const { bytesRead } = pair.accepted
    pair.accepted.resume()
    while (pair.accepted.bytesRead <= bytesRead) await sleep(50)
  })
}

describe.concurrent('setDeadPeerTimeout', () => {
  test('sets what its plan says', async () => {
    await using pair = await connectedPair()
    const plan = setDeadPeerTimeout(pair.client, 60_000)
    const { idle, interval, count, userTimeout } = plan
    expect(getKeepalive(pair.client)).toEqual({ enabled: true, idle, interval, count })
    expect(getUserTimeout(pair.client)).toBe(userTimeout)
    expect(plan).toEqual(planDeadPeerTimeout(60_000))
    expect(structuredClone(plan)).toEqual(plan)
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
  })

  test('the connect has its own user timeout, which is replaced when Node begins to read', async () => {
    await using pair = await connectedPair({
      prepare: (client) => setDeadPeerTimeout(client, 60_000),
    })
    expect(getUserTimeout(pair.client)).toBe(0)
  })

  test('and on a socket that is not read, by the sweep', async () => {
    await using pair = await connectedPair({
      prepare(client) {
        setDeadPeerTimeout(client, 60_000)
        client.pause()
      },
    })
    expect(getUserTimeout(pair.client)).toBe(planDeadPeerTimeout(60_000).connectTimeout)
    while (getUserTimeout(pair.client) !== 0) await sleep(50)
    expect(getKeepalive(pair.client).enabled).toBe(true)
  })

  // Without TCP_RTO_MAX_MS window probes double their distance, and six must go unanswered: minutes.
  test.skipIf(systemDefaults().rtoMax === undefined).each([
    { how: 'set once more', again: [MS] },
    { how: 'restored and set again', again: [0, MS] },
  ])(
    '$how while the window is closed, a peer that dies is still an error in time',
    async ({ again }) => {
      await using pair = await connectedPair({
        prepare: (client) => setDeadPeerTimeout(client, MS),
      })
      // Counted from its last answer, which is somewhere from here on.
      const closed = await closeWindow(pair)
      await sleep(1100)
      for (const ms of again) setDeadPeerTimeout(pair.client, ms)
      await sleep(600)
      unplug(pair.client)
      expectTold(await deathOf(pair.client, closed))
    },
  )

  test('an idle connection survives an outage that is shorter than the plan says, begun right before the first probe', async ({
    skip,
  }) => {
    await using pair = await connectedPair()
    const { client } = pair
    const { idle, survivesOutage } = setDeadPeerTimeout(client, 20_000)
    expect(survivesOutage).toBe(8000)
    await sleep(1000 * idle - 200 - getTcpInfo(client).lastAckReceivedMs)
    const plugIn = unplug(client)
    const began = performance.now()
    while (getTcpInfo(client).probes <= 4) await sleep(50)
    plugIn()
    const outage = performance.now() - began
    if (outage > (survivesOutage as number)) skip(`late: the outage took ${outage} ms`)
    await sleep(4000)
    expect(client.destroyed).toBe(false)
    expect(getTcpInfo(client)).toMatchObject({ state: 'ESTABLISHED', probes: 0 })
  })

  test('0 takes everything back, and Node sets keepalive again', async () => {
    await using pair = await connectedPair()
    const before = { ...getKeepalive(pair.client), enabled: false }
    setDeadPeerTimeout(pair.client, 5000, { slowReader: 'end' })
    expect(getUserTimeout(pair.client)).not.toBe(0)
    setDeadPeerTimeout(pair.client, 0)
    expect(getKeepalive(pair.client)).toEqual(before)
    expect(getUserTimeout(pair.client)).toBe(0)
    expect(detectionTime(pair.client).idle).toBe(null)
    pair.client.setKeepAlive(true, 33_000)
    expect(getKeepalive(pair.client)).toMatchObject({ enabled: true, idle: 33 })
  })

  test('after 0 a silent peer stays', async () => {
    await using pair = await connectedPair()
    setDeadPeerTimeout(pair.client, 2000)
    setDeadPeerTimeout(pair.client, 0)
    const errors: Error[] = []
    pair.client.on('error', (error) => errors.push(error))
    unplug(pair.client)
    pair.client.write('x')
    await sleep(6000)
    expect(errors).toEqual([])
  })

  test.each([
    [1999, RangeError, 'ERR_OUT_OF_RANGE'],
    [-1, RangeError, 'ERR_OUT_OF_RANGE'],
    [2 ** 31, RangeError, 'ERR_OUT_OF_RANGE'],
    [2000.5, RangeError, 'ERR_OUT_OF_RANGE'],
    [Number.NaN, RangeError, 'ERR_OUT_OF_RANGE'],
    ['5000', TypeError, 'ERR_INVALID_ARG_TYPE'],
    [5000n, TypeError, 'ERR_INVALID_ARG_TYPE'],
  ])('%s is refused, and nothing is set', async (ms, kind, code) => {
    await using pair = await connectedPair()
    const before = getKeepalive(pair.client)
    const attempt = (): unknown => setDeadPeerTimeout(pair.client, ms as never)
    expect(attempt).toThrow(kind)
    expect(attempt).toThrow(expect.objectContaining({ code }))
    expect(getKeepalive(pair.client)).toEqual(before)
  })

  test.each([[{ slowReader: 'maybe' }], [{ slowreader: 'keep' }]])(
    '%o is refused',
    async (options) => {
      await using pair = await connectedPair()
      expect(() => setDeadPeerTimeout(pair.client, 5000, options as never)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
      )
    },
  )
})

describe.concurrent('detectionTime of a socket', () => {
  test('is what the kernel has, and its own round-trip time', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, { idle: 60, interval: 10, count: 3 })
    const time = detectionTime(pair.client)
    expect(time.idle).toBe(90_000)
    expect(time.unacknowledged).toBeGreaterThan(900_000)
    expect(detectionTime({ idle: 60, interval: 10, count: 3 }).idle).toBe(90_000)
  })

  test.each([
    [{ idel: 60 }, 'ERR_INVALID_ARG_VALUE'],
    [{ initialDelay: 60_000 }, 'ERR_INVALID_ARG_VALUE'],
    [{ rtoMax: -5 }, 'ERR_OUT_OF_RANGE'],
    [{ silence: 'long' }, 'ERR_INVALID_ARG_TYPE'],
    [{ idle: 60_000 }, 'ERR_OUT_OF_RANGE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
  ])('%o is refused', (settings, code) => {
    expect(() => detectionTime(settings as never)).toThrow(expect.objectContaining({ code }))
  })

  test('of a plan', () => {
    const plan = planDeadPeerTimeout(30_000)
    expect(detectionTime(plan)).toEqual(plan.detection)
  })
})
