/** The sweep of `setDeadPeerTimeout(…, { slowReader: 'keep' })` where a connection changes hands. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls'
import { getUserTimeout, setDeadPeerTimeout, support } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { beforeEach, describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { closed, reset } from './support/death.ts'
import { connectedPair } from './support/pair.ts'
import { tlsClientOptions, tlsServerOptions } from './support/tls.ts'

beforeEach(({ skip }) => {
  if (support.setDeadPeerTimeout !== true) skip(support.setDeadPeerTimeout)
})

const MS = 2000

describe.concurrent('TLS is laid over a swept connection', () => {
  test('the TLS socket gets the error of a peer that dies with data in flight', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    setDeadPeerTimeout(client, MS)
    const far = new TLSSocket(accepted, {
      ...tlsServerOptions,
      isServer: true,
      secureContext: createSecureContext(tlsServerOptions),
    })
    far.on('error', () => {})
    const over = connectTls({ socket: client, ...tlsClientOptions })
    await once(over, 'secureConnect')
    // Nothing but the sweep can bound this: the plan has no user timeout.
    expect(getUserTimeout(over)).toBe(0)
    unplug(over)
    const begin = performance.now()
    const error = once(over, 'error')
    over.write('x')
    expect((await error)[0]).toMatchObject({ code: 'ETIMEDOUT', syscall: 'read' })
    expect(performance.now() - begin).toBeGreaterThan(0.7 * MS)
    expect(over.destroyed).toBe(true)
  })
})

describe.concurrent('a swept connection is handed to a child process', () => {
  async function handed(keepOpen: boolean, standsStill = false) {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const child = fork(join(__dirname, 'support', 'writing-process.cjs'))
    const ready = once(child, 'message')
    const far = connect((server.address() as AddressInfo).port, '127.0.0.1')
    reset(far)
    const [socket] = (await once(server, 'connection')) as [Socket]
    expect((await ready)[0]).toBe('ready')
    setDeadPeerTimeout(socket, MS)
    const log: string[] = []
    socket.on('error', ({ message }) => log.push(message))
    // From here on the peer acknowledges nothing; what the child writes waits for it.
    unplug(socket)
    const told: unknown[] = []
    if (standsStill) {
      socket.write('x')
      child.kill('SIGSTOP')
    }
    child.send('take it', socket, { keepOpen })
    if (!standsStill) expect((await once(child, 'message'))[0]).toBe('written')
    child.on('message', (message) => told.push(message))
    // Where it is to be told it waits for that; else for longer than that would take.
    if (keepOpen && !socket.closed) await closed(socket)
    if (!keepOpen) await sleep(2.5 * MS)
    child.kill('SIGKILL')
    far.destroy()
    server.close()
    return { log, told, socket }
  }

  test('it is the child’s: the sweep here ends, and touches it no more', async () => {
    const { log, told } = await handed(false)
    expect(log).toEqual([])
    expect(told).toEqual([])
  })

  test('on its way there, which a busy child makes long, it is no longer this one’s to end', async () => {
    const { log } = await handed(false, true)
    expect(log).toEqual([])
  })

  test('kept open here as well: the sweep continues, and this end gets the error', async () => {
    const { log, socket } = await handed(true)
    expect(log).toEqual(['read ETIMEDOUT'])
    expect(socket.destroyed).toBe(true)
  })
})

test.concurrent('the store of whoever was swept first is not kept for as long as anybody is', async () => {
  const answer = await answerOf<object>(
    `
    const { AsyncLocalStorage } = require('node:async_hooks')
    const { once } = require('node:events')
    const { connect, createServer } = require('node:net')
    const { setTimeout: sleep } = require('node:timers/promises')
    const { setDeadPeerTimeout } = require('tcp-keepalive')
    const storage = new AsyncLocalStorage()
    ;(async () => {
      const server = createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const open = async () => {
        const socket = connect(server.address().port, '127.0.0.1').on('error', () => {}).resume()
        await once(socket, 'connect')
        return socket
      }
      const second = await open()
      let store
      await (async () => {
        const request = { id: 1 }
        store = new WeakRef(request)
        const first = await open()
        storage.run(request, () => setDeadPeerTimeout(first, 60_000))
        setDeadPeerTimeout(second, 60_000)
        first.destroy()
        await once(first, 'close')
      })()
      for (let i = 0; i < 20 && store.deref() !== undefined; i++) {
        await sleep(20)
        gc()
      }
      console.log(JSON.stringify({ kept: store.deref() !== undefined, swept: !second.destroyed }))
      process.exit()
    })()
    `,
    { flags: ['--expose-gc'] },
  )
  expect(answer).toEqual({ kept: false, swept: true })
})

test.concurrent('looks twice a second while something waits', async () => {
  const looks = await answerOf<number[]>(`
    const net = require('node:net')
    const { setDeadPeerTimeout } = require('tcp-keepalive')
    const { unplug } = require('tcp-keepalive/testing')
    const { native } = require('./dist/native.js')
    const server = net.createServer((accepted) => accepted.on('error', () => {}))
    server.listen(0, '127.0.0.1', () => {
      const client = net.connect(server.address().port, '127.0.0.1', () => {
        setDeadPeerTimeout(client, 20_000)
        const looks = []
        const { sweep } = native()
        native().sweep = (...given) => {
          looks.push(performance.now())
          if (looks.length === 12) {
            console.log(JSON.stringify(looks.slice(1).map((look, i) => look - looks[i])))
            process.exit()
          }
          return sweep(...given)
        }
        unplug(client)
        client.write('x')
      })
    })
  `)
  // The first are an eighth of the silence apart; a busy machine makes one late, and the next early.
  const median = looks.sort((a, b) => a - b)[looks.length >> 1] as number
  expect(median).toBeGreaterThan(400)
  expect(median).toBeLessThan(750)
})

test.concurrent('other events run between two batches of a look', async () => {
  const together = await answerOf<number>(`
    const net = require('node:net')
    // Before the library copies what it exports.
    const binding = require('node-gyp-build')(process.cwd())
    const { sweep } = binding
    let turn = 0
    let lastFull = -1
    let batches = 0
    let together = 0
    binding.sweep = (numbers, size) => {
      if (turn === lastFull) together++
      if (size === 250) {
        lastFull = turn
        batches++
      }
      return sweep(numbers, size)
    }
    const { setDeadPeerTimeout } = require('tcp-keepalive')
    const next = () => setImmediate(next, turn++)
    next()
    let count = 0
    const server = net.createServer(() => {}).listen(0, '127.0.0.1', more)
    function more() {
      if (count++ === 600) return
      setDeadPeerTimeout(net.connect(server.address().port, '127.0.0.1', more), 4000)
    }
    const wait = setInterval(() => {
      if (batches < 6) return
      clearInterval(wait)
      console.log(together)
      process.exit()
    }, 10)`)
  expect(together).toBe(0)
})
