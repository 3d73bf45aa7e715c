/**
 * What a call costs, counted and not timed, so that it holds on a busy machine: system
 * calls, crossings into native code, bytes left behind. `npm run lab -- bench` has the times.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'

const work = mkdtempSync(join(tmpdir(), 'tcp-keepalive-counts-'))
afterAll(() => rmSync(work, { recursive: true }))

const STRACE = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0
const CALLS = 50

/** `operations`, `fresh` sockets that nothing has been set on, and one that was. */
const PROGRAM = `
  const { once } = require('node:events')
  const { connect, createServer } = require('node:net')
  const library = require('./dist/index.js')
  const { native } = require('./dist/native.js')
  /** What this copy calls, and what all copies share. */
  const counted = (name, called) => {
    for (const binding of [native(), native().binding]) {
      const call = binding[name]
      binding[name] = (...given) => {
        called(name, ...given)
        return call(...given)
      }
    }
  }
  const options = [{ idle: 60, interval: 10, count: 3 }, { idle: 61, interval: 11, count: 4 }]
  const operations = {
    setKeepalive: (socket, i) => library.setKeepalive(socket, options[i & 1]),
    setUserTimeout: (socket, i) => library.setUserTimeout(socket, 90_000 + (i & 1)),
    setDeadPeerTimeout: (socket, i) =>
      library.setDeadPeerTimeout(socket, 30_000 + 10_000 * (i & 1)),
    getKeepalive: (socket) => library.getKeepalive(socket),
    getUserTimeout: (socket) => library.getUserTimeout(socket),
    getTcpInfo: (socket) => library.getTcpInfo(socket),
  }
  async function open(count) {
    const server = createServer().listen(0)
    await once(server, 'listening')
    const sockets = Array.from({ length: count }, () => connect(server.address().port, '127.0.0.1'))
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    // The first call of a process loads the binding.
    for (const operation of Object.values(operations)) operation(sockets[0], 0)
    return sockets
  }
`

describe.runIf(process.platform === 'linux')('per call', () => {
  const name = 'system calls'
  // Without strace there is nobody to count them.
  test.skipIf(!STRACE)(STRACE ? name : `${name} (skipped: strace is missing)`, async () => {
    const trace = join(work, 'trace')
    const program = `${PROGRAM}
      const { openSync, writeSync } = require('node:fs')
      const marks = openSync('/dev/null', 'w')
      open(${CALLS + 1}).then(([socket, ...fresh]) => {
        for (const [name, operation] of Object.entries(operations)) {
          writeSync(marks, 'begin ' + name + '.')
          for (let i = 0; i < ${CALLS}; i++) operation(socket, i)
          writeSync(marks, 'end.')
        }
        writeSync(marks, 'begin first.')
        for (const socket of fresh) operations.setKeepalive(socket, 0)
        writeSync(marks, 'end.')
        console.log('null')
        process.exit()
      })`
    const wrapper = ['strace', '-f', '-qq', '-s', '64', '-o', trace]
    await answerOf(program, { wrapper })

    const counts: Record<string, Record<string, number>> = {}
    let open: Record<string, number> | undefined
    let thread: string | undefined
    for (const line of readFileSync(trace, 'utf8').split('\n')) {
      const [, id, call = ''] = /^(\d+)\s+(\w+)\(/.exec(line) ?? []
      const [, begun] = /write\(\d+, "begin (\w+)\./.exec(line) ?? []
      if (begun !== undefined) {
        thread = id
        open = {}
        counts[begun] = open
      } else if (line.includes('"end."')) open = undefined
      // The collector and its threads have business of their own.
      else if (
        open !== undefined &&
        id === thread &&
        // Node's own ask for more than errors.
        (call !== 'epoll_ctl' || line.includes('EPOLLET')) &&
        !/^(futex|mprotect|m.*map|madvise|get.*id)$/.test(call)
      ) {
        open[call] = (open[call] ?? 0) + 1 / CALLS
      }
    }
    const rounded = Object.fromEntries(
      Object.entries(counts).map(([operation, calls]) => [
        operation,
        Object.fromEntries(Object.entries(calls).map(([call, count]) => [call, +count.toFixed(2)])),
      ]),
    )
    expect(rounded).toEqual({
      setKeepalive: { setsockopt: 4 },
      setUserTimeout: { setsockopt: 1 },
      setDeadPeerTimeout: { setsockopt: 5 },
      getKeepalive: { getsockopt: 4 },
      getUserTimeout: { getsockopt: 1 },
      getTcpInfo: { getsockopt: 1 },
      first: { setsockopt: 4, getsockopt: 1, epoll_ctl: 1 },
    })
  })

  test('crossings into native code', async () => {
    const counts = await answerOf<Record<string, number>>(`${PROGRAM}
      open(2).then(async ([socket, fresh]) => {
        let crossings = 0
        for (const [name, call] of Object.entries(native().binding)) {
          if (typeof call === 'function') counted(name, () => crossings++)
        }
        const counts = {}
        const count = (name, action) => {
          crossings = 0
          action()
          counts[name] = crossings
        }
        for (const [name, operation] of Object.entries(operations)) {
          count(name, () => operation(socket, 1))
        }
        count('first', () => operations.setKeepalive(fresh, 1))
        // Set before it has a descriptor: written and watched as soon as there is one. In all:
        const later = connect(fresh.remotePort, '127.0.0.1')
        count('before', () => operations.setKeepalive(later, 1))
        await once(later, 'connect')
        counts.connect = crossings
        console.log(JSON.stringify(counts))
        process.exit()
      })`)
    expect(counts).toEqual({
      setKeepalive: 1,
      setUserTimeout: 1,
      // When the sweep is to look next.
      setDeadPeerTimeout: 2,
      getKeepalive: 1,
      getUserTimeout: 1,
      getTcpInfo: 1,
      first: 2,
      // Since when it is not read.
      before: 1,
      connect: 3,
    })
  })

  test('more than a batch of connections, in a loop in which nothing else happens', async () => {
    const COUNT = 2500
    const { crossings, looked } = await answerOf<{
      crossings: Record<string, number>
      looked: number[]
    }>(`${PROGRAM}
      open(${COUNT} + 1).then(([, ...sockets]) => {
        const crossings = { watch: 0, sweep: 0 }
        for (const name of Object.keys(crossings)) counted(name, () => crossings[name]++)
        // How many connections each of them is about.
        const looked = []
        const { sweep } = native()
        native().sweep = (numbers, count) => {
          looked.push(count)
          return sweep(numbers, count)
        }
        const fresh = sockets.map(({ remotePort }) => connect(remotePort, '127.0.0.1'))
        for (const socket of sockets) socket.destroy()
        // In one period of the sweep, however long it takes: they begin to connect on the next tick.
        const { now } = native()
        const moment = now()
        native().now = () => moment
        for (const socket of fresh) library.setDeadPeerTimeout(socket, 60_000)
        setImmediate(() => {
          native().now = now
        })
        setInterval(() => {
          if (looked.reduce((sum, count) => sum + count, 0) < 2 * ${COUNT}) return
          console.log(JSON.stringify({ crossings, looked }))
          process.exit()
        }, 100)
      })`)
    expect(crossings.watch).toBe(COUNT)
    expect(crossings.sweep).toBe(looked.length)
    // The first look is some full batches and a rest; what follows may be divided between periods.
    const batch = Math.max(...looked)
    expect(batch).toBeLessThan(COUNT / 2)
    expect(looked.filter((count) => count === batch).length).toBeGreaterThanOrEqual(2)
  })

  test('bytes left behind, the result aside', async () => {
    const flags = ['--expose-gc', '--min-semi-space-size=128', '--max-semi-space-size=128']
    const bytes = await answerOf<Record<string, number>>(
      `${PROGRAM}
      // One object of each kind, as the caller keeps it.
      const copies = {
        getKeepalive: ({ enabled, idle, interval, count }) => ({ enabled, idle, interval, count }),
        getTcpInfo: (info) => copyOf(info),
      }
      let copyOf
      let kept
      const perCall = (action) => {
        const CALLS = 20_000
        for (let i = 0; i < CALLS; i++) kept = action(i)
        // The least of some: another thread may still have been compiling.
        return Math.min(...Array.from({ length: 15 }, () => {
          gc()
          const before = process.memoryUsage().heapUsed
          for (let i = 0; i < CALLS; i++) kept = action(i)
          return (process.memoryUsage().heapUsed - before) / CALLS
        }))
      }
      open(1).then(([socket]) => {
        const fields = Object.keys(library.getTcpInfo(socket))
        copyOf = Function('o', 'return {' + fields.map((key) => key + ': o.' + key) + '}')
        const bytes = {}
        for (const [name, operation] of Object.entries(operations)) {
          bytes[name] = perCall((i) => operation(socket, i))
          if (!(name in copies)) continue
          const sample = operation(socket, 0)
          bytes[name] -= perCall(() => copies[name](sample))
        }
        const { setKeepalive, setUserTimeout } = operations
        bytes['both in turn'] = perCall((i) => (i & 2 ? setKeepalive : setUserTimeout)(socket, i))
        console.log(JSON.stringify(bytes))
        process.exit(kept === null ? 1 : 0)
      })`,
      { flags },
    )
    // A setter makes two records of what is set from now on: the socket's and the connection's.
    for (const [operation, count] of Object.entries(bytes)) {
      expect(count, operation).toBeLessThanOrEqual(operation.startsWith('get') ? 100 : 500)
    }
  })
})
