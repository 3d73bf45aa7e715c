/** What goes wrong around watching a socket, each seen once, each a test. */
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { getTcpInfo, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { native } from 'tcp-keepalive/native'
import { unplug } from 'tcp-keepalive/testing'
import { beforeEach, describe, expect, test } from 'vitest'
import { answerOf, run } from './support/child.ts'
import { closed, deathOf, expectTold, reset } from './support/death.ts'
import { listen } from './support/listen.ts'
import { connectedPair } from './support/pair.ts'
import { tlsClientOptions } from './support/tls.ts'

/** Every event that tells of an end, in order. */
function logOf(socket: Socket): string[] {
  const log: string[] = []
  socket.on('connect', () => log.push('connect'))
  socket.on('end', () => log.push('end'))
  socket.on('error', ({ message }) => log.push(`error: ${message}`))
  socket.on('close', (hadError) => log.push(`close(${hadError})`))
  return log
}

/** How this user makes a network namespace, in which sysctls of one's own hold, if at all. */
const namespace = [
  ['unshare', '--net'],
  ['unshare', '--net', '--user', '--map-root-user'],
].find(([file = '', ...args]) => {
  const set = 'ip link set lo up && echo 1 > /proc/sys/net/ipv4/tcp_fin_timeout'
  return spawnSync(file, [...args, 'sh', '-c', set]).status === 0
})
const NO_NAMESPACE = 'no network namespaces: neither root nor user namespaces, or no unshare or ip'

function withSysctl(name: string, value: string): string[] {
  const set = `ip link set lo up && echo ${value} > /proc/sys/net/ipv4/${name} && exec "$0" "$@"`
  return [...(namespace ?? []), 'sh', '-c', set]
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

describe.concurrent('EPOLLHUP without an error', () => {
  test('is an orderly end, and the death that follows it is still told', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    reset(accepted)
    setUserTimeout(client, 1500)
    accepted.end(Buffer.alloc(100_000))
    await until(() => getTcpInfo(client).state === 'CLOSE_WAIT')
    unplug(client)
    const death = deathOf(client)
    // Both directions are shut down now: the kernel reports EPOLLHUP.
    client.end('x')
    await until(() => getTcpInfo(client).state === 'LAST_ACK')
    await sleep(300)
    expect(client.destroyed).toBe(false)
    expectTold(await death)
  })
})

describe.concurrent('SO_ERROR of a connect is left to Node', () => {
  // Port 1, because one that was just given back is soon another test's.
  for (const tls of [false, true]) {
    test(`a refused port is refused, never connected${tls ? ' (TLS)' : ''}`, async () => {
      const logs = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const socket = new Socket()
          setUserTimeout(socket, 5000)
          const log = logOf(socket)
          if (tls) {
            const { connect: connectTls } = await import('node:tls')
            const over = connectTls({ socket, ...tlsClientOptions })
            over.on('error', () => {})
          }
          socket.connect(1, '127.0.0.1')
          await closed(socket)
          return log
        }),
      )
      const refused = ['error: connect ECONNREFUSED 127.0.0.1:1', 'close(true)']
      expect(logs).toEqual(logs.map(() => refused))
    })
  }
})

test.concurrent('a socket that had a descriptor before it connects: refused is refused there, too', async () => {
  const logs = await answerOf<string[][]>(`
    const net = require('node:net')
    const { setTimeout: sleep } = require('node:timers/promises')
    const { setUserTimeout } = require('tcp-keepalive')
    const { TCP, constants } = process.binding('tcp_wrap')
    const busy = (ms) => { for (const end = Date.now() + ms; Date.now() < end; ); }
    const attempt = async (ms) => {
      const handle = new TCP(constants.SOCKET)
      handle.bind('127.0.0.1', 0)
      const socket = new net.Socket({ handle, manualStart: true })
      // The kernel reports EPOLLHUP for what is not connected, and the looks begin.
      setUserTimeout(socket, 5000)
      const log = []
      for (const event of ['connect', 'error', 'close']) socket.on(event, (told) => log.push(event + ' ' + (told?.message ?? told)))
      await sleep(ms)
      // After this phase of the loop come timers, a look among them, and only then what the kernel tells.
      await new Promise(setImmediate)
      socket.connect(1, '127.0.0.1')
      process.nextTick(busy, 30)
      await new Promise((resolve) => socket.once('close', resolve))
      return log
    }
    ;(async () => {
      const logs = []
      for (let ms = 42; ms < 60; ms += 2) logs.push(await attempt(ms))
      console.log(JSON.stringify(logs))
    })()
  `)
  expect(logs).toEqual(logs.map(() => ['error connect ECONNREFUSED 127.0.0.1:1', 'close true']))
})

describe.concurrent('the peer ends, then resets, and nobody has read yet', () => {
  async function endedAndReset(allowHalfOpen: boolean) {
    const pair = await connectedPair({ allowHalfOpen })
    const { client, accepted } = pair
    setKeepalive(client, true)
    const log = logOf(client)
    const data = Buffer.alloc(100_000, 'x')
    accepted.end(data)
    await until(() => getTcpInfo(client).state === 'CLOSE_WAIT')
    accepted.resetAndDestroy()
    await until(() => getTcpInfo(client).state === 'CLOSE')
    expect(client.bytesRead).toBeLessThan(data.length)
    await sleep(500)
    expect(log).toEqual([])
    let received = 0
    client.on('data', (chunk) => {
      received += chunk.length
    })
    await closed(client)
    expect(received).toBe(data.length)
    await pair[Symbol.asyncDispose]()
    return log
  }

  test('what it sent is complete: it is read first, and the end is clean, as Node has it', async () => {
    expect(await endedAndReset(false)).toEqual(['end', 'close(false)'])
  })

  test('half open, the reset is told after the end', async () => {
    expect(await endedAndReset(true)).toEqual(['end', 'error: read EPIPE', 'close(true)'])
  })

  test('likewise when it has forgotten the connection and resets a keepalive probe', async ({
    skip,
  }) => {
    if (namespace === undefined) skip(NO_NAMESPACE)
    const answer = await answerOf<unknown>(FORGOTTEN, {
      wrapper: withSysctl('tcp_fin_timeout', '1'),
    })
    expect(answer).toEqual({
      state: 'CLOSE',
      before: [],
      received: 100_000,
      log: ['end', 'close(false)'],
    })
  })
})

// What has ended at both ends is dropped by the peer's kernel after tcp_fin_timeout.
const FORGOTTEN = `
  const { once } = require('node:events')
  const { connect, createServer } = require('node:net')
  const { setTimeout: sleep } = require('node:timers/promises')
  const { getTcpInfo, setKeepalive } = require('tcp-keepalive')
  ;(async () => {
    const server = createServer((peer) => peer.end(Buffer.alloc(100_000), () => peer.destroy()))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = connect(server.address().port, '127.0.0.1')
    setKeepalive(socket, { idle: 2, interval: 1, count: 3 })
    const log = []
    socket.on('end', () => log.push('end'))
    socket.on('error', ({ message }) => log.push(message))
    socket.on('close', (hadError) => log.push('close(' + hadError + ')'))
    await sleep(3500)
    const { state } = getTcpInfo(socket)
    const before = [...log]
    let received = 0
    socket.on('data', ({ length }) => { received += length })
    await once(socket, 'close')
    server.close()
    console.log(JSON.stringify({ state, before, received, log }))
  })()
`

/** What Node makes of data and a death that it finds in one go: up to Node 22 a clean end. */
const DATA_AND_DEATH = /^v2[02]\./.test(process.version)
  ? ['end', 'close(false)']
  : ['error: read ECONNRESET', 'close(true)']

interface Queued {
  queued: number
  received: number
  log: string[]
}

async function queuedReset(
  set: 'set' | 'unset',
  consumer: 'flowing' | 'slow' | 'stuck',
): Promise<Queued> {
  const file = join(__dirname, 'support', 'queued-reset.cjs')
  const large = withSysctl('tcp_rmem', '4096 33554432 33554432')
  const { code, stdout, stderr } = await run([...large, process.execPath, file, set, consumer])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Queued
}

describe.concurrent('megabytes are queued in the kernel when the peer resets', () => {
  beforeEach(({ skip }) => {
    if (namespace === undefined) skip(NO_NAMESPACE)
  })

  // Node reads 2 MB (32 x 64 KiB) in one turn of the loop.
  const MORE_THAN_A_TURN = 4_000_000

  test('every byte is delivered, and the end is the same as without this library', async () => {
    const byNode = await queuedReset('unset', 'flowing')
    expect(byNode.queued).toBeGreaterThan(MORE_THAN_A_TURN)
    expect(byNode.received).toBe(5_000_000)
    expect(byNode.log).toEqual(DATA_AND_DEATH)
    expect(await queuedReset('set', 'flowing')).toEqual(byNode)
  })

  test('a slow consumer gets as much, also when it hesitates', async () => {
    const byNode = await queuedReset('unset', 'slow')
    // What is left in Node's buffer when it finds the reset is dropped by Node.
    expect(byNode.received).toBeGreaterThan(5_000_000 - 65_536)
    expect(await queuedReset('set', 'slow')).toEqual(byNode)
  })

  test('with nobody to consume them they are nobody’s: the reset is told', async () => {
    const { queued, log } = await queuedReset('set', 'stuck')
    expect(queued).toBeGreaterThan(MORE_THAN_A_TURN)
    expect(log).toEqual(['error: read ECONNRESET', 'close(true)'])
  })
})

describe.concurrent('a consumer that takes small pieces of what Node has read makes progress too', () => {
  async function consumed(period: number, set?: (socket: Socket, on: true) => void) {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    set?.(client, true)
    const log = logOf(client)
    const size = 100_000
    accepted.write(Buffer.alloc(size))
    await until(() => getTcpInfo(client).receivedBytes === size)
    const end = closed(client)
    accepted.resetAndDestroy()
    let received = 0
    const timer = setInterval(() => {
      received += client.read(Math.min(2000, client.readableLength))?.length ?? 0
    }, period)
    await end
    clearInterval(timer)
    return { received, log }
  }

  // A piece in each look of 20 ms, and in every other one.
  for (const period of [10, 40]) {
    test(`every ${period} ms`, async () => {
      // Node itself finds the reset while its buffer is not empty yet, and drops the rest of it.
      const byNode = await consumed(period)
      expect(byNode.received).toBeGreaterThan(30_000)
      expect(await consumed(period, setKeepalive)).toEqual(byNode)
    })
  }
})

test.concurrent('fake timers around a first call, taken away before they were due, lose nothing later', async () => {
  const log = await answerOf<string[]>(
    `
    const { once } = require('node:events')
    const { connect, createServer } = require('node:net')
    const { mock } = require('node:test')
    const { setKeepalive } = require('tcp-keepalive')
    const accepted = []
    const server = createServer((socket) => accepted.push(socket.on('error', () => {})))
    const stalled = async () => {
      const socket = connect(server.address().port, '127.0.0.1')
      await once(socket, 'connect')
      while (accepted.length === 0) await new Promise(setImmediate)
      accepted.at(-1).write(Buffer.alloc(4 << 20))
      return socket
    }
    server.listen(0, '127.0.0.1', async () => {
      mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate'] })
      const first = connect(server.address().port, '127.0.0.1').on('error', () => {})
      await once(first, 'connect')
      setKeepalive(first, true)
      mock.timers.reset()
      const socket = await stalled()
      setKeepalive(socket, true)
      setTimeout(() => accepted.at(-1).resetAndDestroy(), 300)
      const late = setTimeout(() => process.exit(1), 5000)
      socket.on('error', ({ message }) => {
        console.log(JSON.stringify([message]))
        process.exit()
      })
    })`,
    { flags: ['--no-warnings'] },
  )
  expect(log).toEqual(['read ECONNRESET'])
})

describe('data and death within one stall of the event loop', () => {
  for (const set of [undefined, setKeepalive]) {
    test(`is told by Node in its own way, ${set === undefined ? 'without' : 'with'} this library`, async () => {
      const server = createServer()
      await using listening = await listen(server)
      const signal = new Int32Array(new SharedArrayBuffer(8))
      const worker = new Worker(join(__dirname, 'support', 'last-words.cjs'), {
        workerData: { port: listening.port, signal },
      })
      const [socket] = (await once(server, 'connection')) as [Socket]
      set?.(socket, true)
      const log = logOf(socket)
      let received = ''
      socket.setEncoding('utf8').on('data', (text) => {
        received += text
      })
      Atomics.store(signal, 0, 1)
      Atomics.notify(signal, 0)
      // This event loop stands still, the kernel and the worker's go on.
      Atomics.wait(signal, 1, 0, 400)
      expect(getTcpInfo(socket).state).toBe('CLOSE')
      expect(socket.bytesRead).toBe(0)
      await closed(socket)
      expect(received).toBe('the last words')
      expect(log).toEqual(DATA_AND_DEATH)
      await worker.terminate()
    })
  }
})

// Not beside others, which would take the number.
test('a socket handed to a child process: the error is the child’s, the number another’s', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const child = fork(join(__dirname, 'support', 'taking-process.cjs'))
  const { port } = server.address() as AddressInfo
  const far = connect(port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  reset(far)
  setKeepalive(socket, true)
  const number = descriptor(socket)
  socket.pause()
  child.send('take it', socket)
  expect((await once(child, 'message'))[0]).toBe('taken')

  // The number is free here, the open socket lives on in the child and in our epoll.
  const ends = Array.from({ length: 10 }, () => connect(port, '127.0.0.1'))
  await Promise.all(ends.map((end) => once(end, 'connect')))
  for (const end of ends) setKeepalive(end, true)
  expect(ends.map(descriptor)).toContain(number)
  const logs = ends.map(logOf)

  // Reading SO_ERROR takes it, and also tells of an ICMP message that has ended nothing.
  const asked: number[] = []
  const binding = native()
  const { takeError } = binding
  binding.takeError = (descriptor) => {
    asked.push(descriptor)
    return takeError(descriptor)
  }

  far.write(Buffer.alloc(1 << 20))
  await sleep(300)
  far.resetAndDestroy()
  expect((await once(child, 'message'))[0]).toEqual({ code: 'ECONNRESET', syscall: 'read' })
  await sleep(200)
  binding.takeError = takeError
  expect(logs).toEqual(logs.map(() => []))
  expect(asked).toEqual([])
  for (const end of ends) end.destroy()
  server.close()
})

test.concurrent('a watched socket whose reading has stopped keeps no process alive', async () => {
  await using listening = await listen(
    createServer((socket) => {
      socket.write(Buffer.alloc(1 << 20))
    }),
  )
  const answer = await answerOf<unknown>(`
    const { setKeepalive } = require('tcp-keepalive')
    const socket = require('node:net').connect(${listening.port}, '127.0.0.1', () => setKeepalive(socket, true))
    // Its reading stops, so the socket itself keeps nothing alive.
    process.on('exit', () => console.log(JSON.stringify({ destroyed: socket.destroyed })))
  `)
  expect(answer).toEqual({ destroyed: false })
})

function descriptor(socket: Socket): number {
  return (socket as unknown as { _handle: { fd: number } })._handle.fd
}
