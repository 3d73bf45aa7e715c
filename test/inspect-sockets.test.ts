/** `inspectSockets`: this process's own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspectSockets, planDeadPeerTimeout, support } from 'tcp-keepalive'
import { afterAll, describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { buildShim } from './support/shim.ts'

const PAIR = `
const net = require('node:net')
const { inspectSockets, setDeadPeerTimeout, setKeepalive, setUserTimeout } = require('tcp-keepalive')
const answer = (value) => { console.log(JSON.stringify(value)); process.exit() }
const server = net.createServer(() => {}).listen(0, '127.0.0.1', () => {
  const { port } = server.address()
  const socket = net.connect(port, '127.0.0.1', () => setImmediate(connected, socket, port))
})
`

const title = support.inspectSockets === true ? '' : ` (skipped: ${String(support.inspectSockets)})`

describe.concurrent(`inspectSockets${title}`, () => {
  test.skipIf(title)('both ends and the listener, as they are', async () => {
    const { connections, listeners, fds, port } = await answerOf<
      ReturnType<typeof inspectSockets> & { fds: number[]; port: number }
    >(`${PAIR}
      function connected(socket, port) {
        setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
        setUserTimeout(socket, 90_000)
        answer({ ...inspectSockets(), fds: [socket._handle.fd, server._handle.fd], port })
      }`)
    expect(listeners.map(({ fd, localPort }) => [fd, localPort])).toEqual([[fds[1], port]])
    expect(connections).toHaveLength(2)
    // The accepted end, which has no keepalive, comes first.
    expect(connections.map(({ neverNoticed }) => neverNoticed)).toEqual([true, false])
    expect(connections[1]).toMatchObject({
      fd: fds[0],
      remoteAddress: '127.0.0.1',
      remotePort: port,
      state: 'ESTABLISHED',
      keepalive: { enabled: true, idle: 60, interval: 10, count: 3 },
      userTimeout: 90_000,
      unacknowledgedBytes: 0,
      unreadBytes: 0,
    })
    expect(connections[1]?.detection.idle).toBe(90_000)
  })

  test.skipIf(title)('the sweep of setDeadPeerTimeout counts', async () => {
    const [found] = await answerOf<{ unacknowledged: number }[]>(`${PAIR}
      function connected(socket, port) {
        setDeadPeerTimeout(socket, 20_000)
        const { connections } = inspectSockets()
        answer(connections.filter(({ remotePort }) => remotePort === port).map(({ detection }) => detection))
      }`)
    const { unacknowledged } = planDeadPeerTimeout(20_000).detection
    expect(found?.unacknowledged).toBe(unacknowledged)
  })

  test.skipIf(title)('the sweep counts also while it looks at more than one batch', async () => {
    const missed = await answerOf<number>(`${PAIR}
      const sockets = []
      function connected(socket, port) {
        setDeadPeerTimeout(socket, 4000)
        if (sockets.push(socket) < 600) {
          const next = net.connect(port, '127.0.0.1', () => connected(next, port))
          return
        }
        const { unacknowledged } = require('tcp-keepalive').planDeadPeerTimeout(4000).detection
        const ends = Date.now() + 2500
        let missed = 0
        const inspect = () => {
          for (const { remotePort, detection } of inspectSockets().connections) {
            if (remotePort === port && detection.unacknowledged !== unacknowledged) missed++
          }
          if (Date.now() < ends) setImmediate(inspect)
          else answer(missed)
        }
        inspect()
      }`)
    expect(missed).toBe(0)
  })

  test.skipIf(title)('sockets that no net.Socket of this thread has', async () => {
    const states = await answerOf<number>(`${PAIR}
      const { Worker } = require('node:worker_threads')
      function connected(socket, port) {
        const source = "const { workerData, parentPort } = require('node:worker_threads');" +
          "require('node:net').connect(workerData, '127.0.0.1', () => parentPort.postMessage(0))"
        new Worker(source, { eval: true, workerData: port }).once('message', () => {
          answer(inspectSockets().connections.filter(({ remotePort }) => remotePort === port).length)
        })
      }`)
    expect(states).toBe(2)
  })

  test.skipIf(title)('its code is loaded when it is called, not before', async () => {
    const loaded = await answerOf<boolean[]>(`
      const has = () => Object.keys(require.cache).some((file) => /dist.inspect/.test(file))
      const library = require('tcp-keepalive')
      const before = has()
      library.systemDefaults()
      const between = has()
      library.inspectSockets()
      console.log(JSON.stringify([before, between, has()]))`)
    expect(loaded).toEqual([false, false, true])
  })
})

const folder = mkdtempSync(join(tmpdir(), 'tcp-keepalive-inspect-'))
afterAll(() => rmSync(folder, { recursive: true }))
const shim = buildShim(folder)

test.skipIf(title !== '' || shim === undefined)('without TCP_INFO it says so', async () => {
  // As qemu-user does.
  const code = await answerOf<string>(
    `${PAIR}
      function connected() {
        try { inspectSockets() } catch ({ code }) { answer(code) }
      }`,
    { env: { LD_PRELOAD: shim, REFUSE: 'getsockopt 6 11 38' } },
  )
  expect(code).toBe('ERR_FEATURE_UNAVAILABLE_ON_PLATFORM')
})

test('it takes no arguments', () => {
  const call = inspectSockets as (...values: unknown[]) => unknown
  expect(() => call(42)).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringContaining('npx tcp-keepalive inspect'),
    }),
  )
})

test.skipIf(process.platform === 'linux')('elsewhere it says so', () => {
  expect(() => inspectSockets()).toThrow(
    expect.objectContaining({ code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' }),
  )
})
