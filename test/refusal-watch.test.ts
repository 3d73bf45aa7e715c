/**
 * The kernel refuses what the watcher and the sweep need: setting works all the same,
 * no healthy connection is ended, and a death is reported as soon as the kernel can be asked.
 */
import { describe, expect, test } from 'vitest'
import { CODES, RTO_MAX, refusing, useShim } from './support/refusals.ts'

useShim()

/** A client whose buffer is full and that nobody reads: Node alone would never report its end. */
const STALLED = `
  const stalled = async () => {
    const ends = await connected(server)
    ends.accepted.write(Buffer.alloc(4 << 20))
    let looks = 0
    for (let last = -1; looks < 3; last = ends.client.bytesRead) {
      await sleep(20)
      const { bytesRead } = ends.client
      const more = getTcpInfo(ends.client).receivedBytes > bytesRead
      looks = bytesRead > 0 && bytesRead === last && more ? looks + 1 : 0
    }
    ends.log = []
    ends.client.on('error', ({ message }) => ends.log.push(message))
    return ends
  }
`
const DEAD = ['read ETIMEDOUT']

describe.concurrent('watching is refused', () => {
  test('each error of epoll_ctl: the settings remain, and the next call of a setter watches', async () => {
    const { rows } = await refusing<object>(`
      ${STALLED}
      const told = []
      const closes = []
      for (const code of CODES) {
        const [first, second] = [await stalled(), await stalled()]
        refuse('epoll_ctl', code)
        setKeepalive(first.client, { idle: 61 })
        setKeepalive(second.client, { idle: 61 })
        told.push({ set: state(first.client).TCP_KEEPIDLE, once: first.log, twice: second.log })
        obey()
        setKeepalive(second.client, { idle: 62 })
        closes.push(closeOf(second.client))
        for (const { client } of [first, second]) die(client)
      }
      await Promise.all(closes)
      await sleep(500)
      return told
    `)
    // Without the watcher there is no error until the socket is read.
    expect(rows).toEqual(CODES.map(() => ({ set: 61, once: [], twice: DEAD })))
  })

  // Before the watcher is open, so in a process each.
  for (const [what, call] of [
    ['a poller', 'epoll_create1'],
    ['the event loop', 'uv_epoll_ctl'],
  ] as const) {
    test(`${what}: each error, and no descriptor stays open; the next call watches`, async () => {
      const { rows } = await refusing<object>(
        `
        ${STALLED}
        const { client, log } = await stalled()
        const before = descriptors()
        const refused = CODES.map((code) => {
          refuse('${call}', code)
          setKeepalive(client, { idle: 61 })
          const { watch } = library.support
          obey()
          return [watch, state(client).TCP_KEEPIDLE]
        })
        const leaked = descriptors() - before
        setKeepalive(client, { idle: 62 })
        die(client)
        await closeOf(client)
        return [{ refused, leaked, watch: library.support.watch, log }]
        `,
        { env: { UNWATCHED: '1' } },
      )
      expect(rows).toEqual([
        // Nothing that the runtime cannot do.
        { refused: CODES.map(() => [true, 61]), leaked: 0, watch: true, log: DEAD },
      ])
    })
  }

  /** Takes every descriptor that is left; `closeFiles()` gives them back. */
  const FULL = `
    const { closeSync, openSync } = require('node:fs')
    const files = []
    const fill = () => { try { for (;;) files.push(openSync('/dev/null')) } catch ({ code }) { return code } }
    const closeFiles = () => files.forEach(closeSync)
  `
  const FEW = { wrapper: ['sh', '-c', 'ulimit -n 200; exec "$0" "$@"'], env: { UNWATCHED: '1' } }

  test('no descriptor is free: the settings remain, and once there is one the next call watches', async () => {
    const { rows } = await refusing<object>(
      `
      ${STALLED}${FULL}
      const { client, log } = await stalled()
      library.getKeepalive(client)
      const full = fill()
      setKeepalive(client, { idle: 61 })
      const { watch } = library.support
      const set = state(client).TCP_KEEPIDLE
      closeFiles()
      setKeepalive(client, { idle: 62 })
      die(client)
      await closeOf(client)
      return [{ full, watch, set, log }]
      `,
      FEW,
    )
    expect(rows).toEqual([{ full: 'EMFILE', watch: true, set: 61, log: DEAD }])
  })

  test('a plan that is undone meanwhile is not swept any more', async () => {
    const { rows } = await refusing<object>(
      `
      ${FULL}
      library.systemDefaults()
      library.getTcpInfo(client)
      const full = fill()
      setDeadPeerTimeout(client, 2000)
      await sleep(100)
      setDeadPeerTimeout(client, 0)
      closeFiles()
      await sleep(100)
      const log = []
      client.on('error', ({ message }) => log.push(message))
      const plug = unplug(client)
      client.write('x')
      await sleep(4000)
      plug()
      return [{ full, log, destroyed: client.destroyed }]
      `,
      FEW,
    )
    expect(rows).toEqual([{ full: 'EMFILE', log: [], destroyed: false }])
  })

  test("and the 'error' runs where the socket was set, though watching began later", async () => {
    const { rows } = await refusing<object>(
      `
      ${STALLED}${FULL}
      const { AsyncLocalStorage } = require('node:async_hooks')
      const store = new AsyncLocalStorage()
      const { client } = await stalled()
      library.getKeepalive(client)
      const full = fill()
      store.run('mine', () => setKeepalive(client, { idle: 61 }))
      closeFiles()
      setKeepalive(client, { idle: 62 })
      const told = new Promise((resolve) => client.on('error', () => resolve(store.getStore())))
      die(client)
      return [{ full, store: await told }]
      `,
      FEW,
    )
    expect(rows).toEqual([{ full: 'EMFILE', store: 'mine' }])
  })

  test('none is free at the very first use: that call throws, the next one works', async () => {
    const { rows } = await refusing<object>(
      `
      ${FULL}
      // What the library asks of Node is loaded by then.
      thrownBy(() => setKeepalive(null, true))
      fill()
      const error = thrownBy(() => setKeepalive(client, { idle: 61 }))
      closeFiles()
      setKeepalive(client, { idle: 62 })
      return [{ code: error.code, idle: state(client).TCP_KEEPIDLE }]
      `,
      FEW,
    )
    expect(rows).toEqual([{ code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', idle: 62 }])
  })
})

describe.concurrent('looking is refused', () => {
  /** Dead sockets that nobody reads, and what is reported while the kernel refuses and afterwards. */
  const DYING = `
    ${STALLED}
    const dying = async (option, afterwards) => {
      const all = []
      while (all.length < CODES.length) all.push(await stalled())
      for (const { client } of all) {
        setKeepalive(client, true)
        die(client)
      }
      // Before the kernel ends them, and long after that.
      for (let i = 0; i < 3; i++) {
        for (const code of CODES) {
          refuse('getsockopt', code, 0, option)
          await sleep(120)
        }
      }
      const before = all.map(({ log }) => [...log])
      const closes = all.map(({ client }) => closeOf(client))
      obey()
      await afterwards(all)
      await Promise.all(closes)
      return all.map(({ log }, index) => ({ before: before[index], log }))
    }
  `
  const rowsOf = (log: string[]) => CODES.map(() => ({ before: [], log }))

  test('SO_ERROR of a dead socket that is not being read: reported when the kernel returns it', async () => {
    const { rows } = await refusing<object>(`
      ${DYING}
      const SO_ERROR = '1 4'
      return dying(SO_ERROR, async () => {})
    `)
    expect(rows).toEqual(rowsOf(DEAD))
  })

  test('TCP_INFO at the moment at which it ends: in doubt it is left to Node, until it is read', async () => {
    const { rows } = await refusing<object>(`
      ${DYING}
      const left = []
      const rows = await dying(undefined, async (all) => {
        await sleep(1500)
        left.push(...all.flatMap(({ log }) => log))
        for (const { client } of all) client.resume()
      })
      return [left, ...rows]
    `)
    // Up to Node 22 data and a death that it finds in one go are a clean end.
    const byNode = /^v2[02]\./.test(process.version) ? [] : DEAD
    expect(rows).toEqual([[], ...rowsOf(byNode)])
  })

  test('TCP_INFO, for the sweep: a live peer is kept, a dead one is reported once it can be read', async () => {
    const { rows } = await refusing<object>(`
      const dead = (await connected(server)).client, live = (await connected(server)).client
      const log = []
      dead.on('error', ({ message }) => log.push(message))
      live.on('error', ({ message }) => log.push('live: ' + message))
      for (const socket of [dead, live]) setDeadPeerTimeout(socket, 4000)
      unplug(dead)
      dead.write('x')
      const timer = setInterval(() => live.write('x'), 100)
      await sleep(1200)
      refuse('getsockopt', 'EPERM')
      await sleep(3300)
      const before = [...log]
      obey()
      const { LoopClock } = require('./test/support/loop-clock.cjs')
      const clock = new LoopClock()
      await closeOf(dead)
      clearInterval(timer)
      return [{ before, log, soon: clock.since() < 2000 }]
    `)
    expect(rows).toEqual([{ before: [], log: ['read ETIMEDOUT'], soon: true }])
  })

  test('to restore TCP_RTO_MAX_MS after a closed window: it is tried again', async ({ skip }) => {
    if (RTO_MAX.length === 0) skip('this kernel has no TCP_RTO_MAX_MS (Linux 6.15)')
    const { rows } = await refusing<object>(`
      const rtoMax = () => state(client).TCP_RTO_MAX_MS
      const until = async (reached) => { while (!reached()) await sleep(20) }
      setDeadPeerTimeout(client, 20_000)
      const open = rtoMax()
      accepted.pause()
      client.write(Buffer.alloc(8 << 20))
      await until(() => rtoMax() < open)
      refuse('setsockopt', 'EPERM')
      accepted.resume()
      await until(() => client.writableLength === 0)
      await sleep(1200)
      const refused = rtoMax() < open
      obey()
      await until(() => rtoMax() === open)
      return [{ refused }]
    `)
    expect(rows).toEqual([{ refused: true }])
  })
})
