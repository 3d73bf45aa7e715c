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
import { closed, deathOf, ended, expectTold, reset, stall } from './support/death.ts'
import { listen } from './support/listen.ts'
import { connectedPair, type Pair } from './support/pair.ts'
import { PROCESS_MS } from './support/patience.mts'
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
  test('is an orderly end, and the death that follows it is still reported', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    reset(accepted)
    // Longer than the test can be held up by others.
    setUserTimeout(client, 5000)
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
      // The kernel reports EPOLLHUP for what is not connected.
      setUserTimeout(socket, 5000)
      const log = []
      for (const event of ['connect', 'error', 'close']) socket.on(event, (told) => log.push(event + ' ' + (told?.message ?? told)))
      await sleep(ms)
      // After this phase of the loop come timers, and only then what the kernel tells.
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

describe.concurrent('the peer ends, then resets, and nothing has been read yet', () => {
  async function endedAndReset(allowHalfOpen: boolean, set?: typeof setKeepalive) {
    await using pair = await connectedPair({ allowHalfOpen })
    const { client, accepted } = pair
    set?.(client, true)
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
    await ended(client)
    await sleep(1500)
    expect(received).toBe(data.length)
    return [...log]
  }

  for (const set of [undefined, setKeepalive]) {
    const library = set === undefined ? 'without' : 'with'
    test(`what it sent is complete: it is read first, and the end is clean, ${library} this library`, async () => {
      expect(await endedAndReset(false, set)).toEqual(['end', 'close(false)'])
    })

    test(`half open, Node finds no reset after the end, ${library} this library`, async () => {
      expect(await endedAndReset(true, set)).toEqual(['end'])
    })
  }

  test('likewise when it has forgotten the connection and resets a keepalive probe', async ({
    skip,
  }) => {
    if (namespace === undefined) skip(NO_NAMESPACE)
    expect(await forgotten('unread')).toEqual({
      state: 'CLOSE',
      before: [],
      received: 100_000,
      log: ['end', 'close(false)'],
    })
  })

  test('where the socket has read its end, that reset of a probe is reported', async ({ skip }) => {
    if (namespace === undefined) skip(NO_NAMESPACE)
    expect(await forgotten('read')).toEqual({
      before: ['end'],
      received: 100_000,
      log: ['end', 'read EPIPE', 'close(true)'],
    })
  })
})

/** What has ended at both ends is dropped by the peer's kernel after tcp_fin_timeout. */
function forgotten(reader: 'read' | 'unread'): Promise<unknown> {
  const source = `
    const { once } = require('node:events')
    const { Socket, createServer } = require('node:net')
    const { setTimeout: sleep } = require('node:timers/promises')
    const { getTcpInfo, setKeepalive } = require('tcp-keepalive')
    ;(async () => {
      const server = createServer((peer) => peer.end(Buffer.alloc(100_000), () => peer.destroy()))
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const reads = ${reader === 'read'}
      const socket = new Socket({ allowHalfOpen: reads }).connect(server.address().port, '127.0.0.1')
      setKeepalive(socket, { idle: 2, interval: 1, count: 3 })
      const log = []
      socket.on('end', () => log.push('end'))
      socket.on('error', ({ message }) => log.push(message))
      socket.on('close', (hadError) => log.push('close(' + hadError + ')'))
      let received = 0
      const read = () => socket.on('data', ({ length }) => { received += length })
      const close = new Promise((resolve) => socket.once('close', resolve))
      if (reads) read()
      // Read to its end, long before the first probe; or unread, until the reset could have been reported.
      if (reads) await once(socket, 'end')
      else {
        await once(socket, 'connect')
        while (getTcpInfo(socket).state !== 'CLOSE') await sleep(20)
        await sleep(1500)
      }
      const state = reads ? undefined : getTcpInfo(socket).state
      const before = [...log]
      read()
      await close
      server.close()
      console.log(JSON.stringify({ state, before, received, log }))
    })()
  `
  return answerOf(source, { wrapper: withSysctl('tcp_fin_timeout', '1') })
}

/** What Node makes of data and a death that it finds in one go: up to Node 22 a clean end. */
const DATA_AND_DEATH = /^v2[02]\./.test(process.version)
  ? ['end', 'close(false)']
  : ['error: read ECONNRESET', 'close(true)']

interface Queued {
  /** Bytes that Node had not read when the connection ended. */
  queued: number
  received: number
  log: string[]
  /** Milliseconds from the last piece that was taken to the end. */
  sinceLast: number
}

interface Scene {
  over?: 'net' | 'http'
  ending?: 'reset' | 'death'
  size?: number
}

async function queued(
  set: 'set' | 'unset',
  /** A number: takes what Node has read once in so many milliseconds. */
  consumer: 'flowing' | 'slow' | 'stuck' | number,
  { over = 'net', ending = 'reset', size = 5_000_000 }: Scene = {},
): Promise<Queued> {
  const file = join(__dirname, 'support', 'queued.cjs')
  const large = withSysctl('tcp_rmem', '4096 33554432 33554432')
  const scene = [set, consumer, over, ending, size].map(String)
  const { code, stdout, stderr } = await run([...large, process.execPath, file, ...scene])
  if (code !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Queued
}

const same = ({ received, log }: Queued) => ({ received, log })

describe.concurrent('megabytes are queued in the kernel when the peer resets', () => {
  beforeEach(({ skip }) => {
    if (namespace === undefined) skip(NO_NAMESPACE)
  })

  // Node reads 2 MB (32 x 64 KiB) in one turn of the loop.
  const MORE_THAN_A_TURN = 4_000_000

  test('every byte is delivered, and the end is the same as without this library', async () => {
    const byNode = await queued('unset', 'flowing')
    expect(byNode.queued).toBeGreaterThan(MORE_THAN_A_TURN)
    expect(byNode.received).toBe(5_000_000)
    expect(byNode.log).toEqual(DATA_AND_DEATH)
    expect(same(await queued('set', 'flowing'))).toEqual(same(byNode))
  })

  test('a slow consumer gets as much, also when it hesitates', async () => {
    const byNode = await queued('unset', 'slow')
    // What is left in Node's buffer when it finds the reset is dropped by Node.
    expect(byNode.received).toBeGreaterThan(5_000_000 - 65_536)
    expect(same(await queued('set', 'slow'))).toEqual(same(byNode))
  })

  test('without a consumer they are kept: the reset is left to Node', async () => {
    const { queued: left, log } = await queued('set', 'stuck')
    expect(left).toBeGreaterThan(MORE_THAN_A_TURN)
    expect(log).toEqual([])
  })
})

describe.concurrent('data is queued in the kernel when the peer dies', () => {
  beforeEach(({ skip }) => {
    if (namespace === undefined) skip(NO_NAMESPACE)
  })

  test('without a consumer the death is reported', async () => {
    const { queued: left, log } = await queued('set', 'stuck', { ending: 'death' })
    expect(left).toBeGreaterThan(4_000_000)
    expect(log).toEqual(['error: read ETIMEDOUT', 'close(true)'])
  })

  for (const over of ['net', 'http'] as const) {
    for (const period of [150, 400, 900]) {
      test(`${over}: a consumer that takes some every ${period} ms gets all that it gets without this library`, async () => {
        // Some pieces before the kernel ends the connection, most of them afterwards.
        const scene = { over, ending: 'death', size: Math.round(4e8 / period) } as const
        const [byNode, ours] = await Promise.all([
          queued('unset', period, scene),
          queued('set', period, scene),
        ])
        expect(byNode.received).toBeGreaterThan(scene.size - 2 * 65_536)
        // On a busy machine the consumer may be late itself.
        if (ours.sinceLast < 1000) expect(same(ours)).toEqual(same(byNode))
      })
    }
  }
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

  for (const period of [10, 40]) {
    test(`every ${period} ms`, async () => {
      // Node itself finds the reset while its buffer is not empty yet, and drops the rest of it.
      const byNode = await consumed(period)
      expect(byNode.received).toBeGreaterThan(30_000)
      expect(await consumed(period, setKeepalive)).toEqual(byNode)
    })
  }
})

// The timers of this library are libuv's own.
for (const set of ['setUserTimeout(socket, 1000)', 'setDeadPeerTimeout(socket, 2000)']) {
  test.concurrent(`fake timers do not keep a death from being reported: ${set}`, async () => {
    const log = await answerOf<string[]>(
      `
      const { once } = require('node:events')
      const { connect, createServer } = require('node:net')
      const { mock } = require('node:test')
      const { setDeadPeerTimeout, setUserTimeout } = require('tcp-keepalive')
      const { unplug } = require('tcp-keepalive/testing')
      const server = createServer((socket) => {
        socket.on('error', () => {}).write(Buffer.alloc(4 << 20))
      })
      server.listen(0, '127.0.0.1', async () => {
        const socket = connect(server.address().port, '127.0.0.1')
        await once(socket, 'connect')
        // Its buffer is full soon.
        await new Promise((resolve) => setTimeout(resolve, 200))
        mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate'] })
        ${set}
        unplug(socket)
        socket.write('x')
        socket.on('error', ({ message }) => {
          console.log(JSON.stringify([message]))
          process.exit()
        })
      })`,
      { flags: ['--no-warnings'] },
    )
    expect(log).toEqual(['read ETIMEDOUT'])
  })
}

describe.concurrent('a peer that has lost the connection says so when it is asked', () => {
  /** Unplugged, so that its reset does not arrive; asked once it is plugged in again. */
  async function lose({ client, accepted }: Pair, ask: Ask): Promise<void> {
    reset(accepted)
    using _cable = unplug(client)
    await ask(client)
    accepted.resetAndDestroy()
  }
  type Ask = (client: Socket) => Promise<void> | void
  const asked: Record<string, Ask> = {
    'by a keepalive probe': (client) => setKeepalive(client, { idle: 1, interval: 1, count: 9 }),
    'by a retransmission': async (client) => {
      setUserTimeout(client, 60_000)
      client.write('x')
      // A tail loss probe counts as none.
      await until(() => getTcpInfo(client).retransmits >= 2)
    },
  }
  const isClosed = (client: Socket) => () => getTcpInfo(client).state === 'CLOSE'

  for (const [how, ask] of Object.entries(asked)) {
    test(`${how}: reported where the socket has read its end`, async () => {
      await using pair = await connectedPair({ allowHalfOpen: true })
      const { client, accepted } = pair
      client.resume()
      accepted.end('the last words')
      await ended(client)
      const death = deathOf(client)
      await lose(pair, ask)
      expect((await death).errors).toMatchObject([{ message: 'read EPIPE', syscall: 'read' }])
    })

    test(`${how}: reported where nothing has arrived that anything could read`, async () => {
      // Node does not begin to read a socket that is paused.
      await using pair = await connectedPair({ prepare: (client) => client.pause() })
      const death = deathOf(pair.client)
      await lose(pair, ask)
      expect((await death).errors).toMatchObject([{ message: 'read ECONNRESET', syscall: 'read' }])
    })

    test(`${how}: left to Node where something is left to read`, async () => {
      await using pair = await connectedPair()
      const { client, accepted } = pair
      await stall(client, accepted)
      const log = logOf(client)
      await lose(pair, ask)
      await until(isClosed(client))
      const arrived = getTcpInfo(client).receivedBytes
      await sleep(1500)
      expect(log).toEqual([])
      let received = 0
      client.on('data', ({ length }) => {
        received += length
      })
      await closed(client)
      expect(received).toBe(arrived)
      expect(log).toEqual(DATA_AND_DEATH)
    })

    test(`${how}: left to Node where there is a consumer`, async () => {
      await using pair = await connectedPair({ prepare: (client) => client.pause() })
      const { client } = pair
      client.on('data', () => {}).pause()
      const log = logOf(client)
      await lose(pair, ask)
      await until(isClosed(client))
      await sleep(1500)
      expect(log).toEqual([])
      client.resume()
      await closed(client)
      expect(log).toEqual(['error: read ECONNRESET', 'close(true)'])
    })
  }
})

describe('data and death within one stall of the event loop', () => {
  for (const set of [undefined, setKeepalive]) {
    test(`is reported by Node in its own way, ${set === undefined ? 'without' : 'with'} this library`, async () => {
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
      // This event loop stands still, the kernel and the worker's go on until it says that it has reset.
      Atomics.wait(signal, 1, 0, PROCESS_MS)
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
  setUserTimeout(socket, 1000)
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

  child.send('lose its peer')
  expect((await once(child, 'message'))[0]).toEqual({ code: 'ETIMEDOUT', syscall: 'read' })
  // Longer than this process would wait for a reader.
  await sleep(1500)
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
