/** `tcp-keepalive:dead-peer` of node:diagnostics_channel: one message per connection that the kernel gave up. */
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { type DeadPeerMessage, onDeadPeer, setKeepalive, setUserTimeout } from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { answerOf, runNode } from './support/child.ts'
import { closed, DEATHS, ended, stall } from './support/death.ts'
import { connectedPair, type PairOptions } from './support/pair.ts'
import { tlsClientOptions } from './support/tls.ts'

const NAME = 'tcp-keepalive:dead-peer'
const all: DeadPeerMessage[] = []
const order: [Socket, string][] = []

function collect(message: unknown): void {
  const deadPeer = message as DeadPeerMessage
  all.push(deadPeer)
  order.push([deadPeer.socket, 'message'])
}

beforeAll(() => subscribe(NAME, collect))
afterAll(() => {
  unsubscribe(NAME, collect)
})

/** Waits for the end of a socket, and for what would come too often. */
async function messagesOf(socket: Socket): Promise<DeadPeerMessage[]> {
  socket.on('error', () => order.push([socket, 'error']))
  await closed(socket)
  await sleep(100)
  return all.filter((message) => message.socket === socket)
}

function addressesOf(socket: Socket) {
  const { localAddress, localPort, remoteAddress, remotePort } = socket
  return { localAddress, localPort, remoteAddress, remotePort }
}

describe.concurrent('a connection that was set and died', () => {
  const KINDS: [string, PairOptions][] = [
    ['IPv4', {}],
    ['IPv6', { family: 6 }],
    ['IPv4 over an IPv6 socket', { family: 'mapped' }],
    ['TLS', { tls: true }],
  ]
  for (const [kind, options] of KINDS) {
    for (const end of ['client', 'accepted'] as const) {
      for (const reader of ['being read', 'not being read'] as const) {
        test(`${kind}, ${end}, ${reader}: one message, with socket, error, addresses and settings`, async () => {
          await using pair = await connectedPair(options)
          const socket = pair[end]
          const peer = end === 'client' ? pair.accepted : pair.client
          peer.on('error', () => {})
          // Asked of the other end: a socket that was asked itself remembers.
          const { localAddress, localPort, remoteAddress, remotePort } = addressesOf(peer)
          if (reader === 'being read') socket.resume()
          else await stall(socket, peer)
          setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
          setUserTimeout(socket, 1000)
          unplug(socket)
          socket.write('x')
          expect(await messagesOf(socket)).toEqual([
            {
              socket,
              error: socket.errored,
              localAddress: remoteAddress,
              localPort: remotePort,
              remoteAddress: localAddress,
              remotePort: localPort,
              settings: { keepalive: true, idle: 1, interval: 1, count: 1, userTimeout: 1000 },
            },
          ])
          expect(order.filter(([of]) => of === socket).map(([, what]) => what)).toEqual([
            'message',
            'error',
          ])
        })
      }
    }
  }

  test('accepted by a server that was set; the message has only what was set', async () => {
    await using pair = await connectedPair({
      prepareServer: (server) => setUserTimeout(server, 1000),
    })
    unplug(pair.accepted)
    pair.accepted.write('x')
    const messages = await messagesOf(pair.accepted)
    expect(messages.map(({ settings }) => settings)).toEqual([{ userTimeout: 1000 }])
  })

  test('half open, its end read long ago', async () => {
    await using pair = await connectedPair({ allowHalfOpen: true })
    pair.client.resume()
    pair.accepted.end()
    await ended(pair.client)
    DEATHS.inFlight(pair.client)
    expect(await messagesOf(pair.client)).toHaveLength(1)
  })
})

describe('a connect without an answer', () => {
  test('one message, plain and TLS, with the address that did not answer', async () => {
    const silent = await silentPort()
    const plain = new Socket()
    const below = new Socket()
    for (const socket of [plain, below]) {
      setUserTimeout(socket, 1000)
      socket.connect(silent.port, '127.0.0.1')
    }
    const overTls = connectTls({ port: silent.port, host: '127.0.0.1', ...tlsClientOptions })
    setUserTimeout(overTls, 1000)
    const expected = {
      remoteAddress: '127.0.0.1',
      remotePort: silent.port,
      settings: { userTimeout: 1000 },
    }
    for (const messages of await Promise.all([plain, below, overTls].map(messagesOf))) {
      expect(messages).toMatchObject([{ ...expected, error: { syscall: 'connect' } }])
    }
    await silent.close()
  })
})

describe.concurrent('no message', () => {
  async function untold(run: (socket: Socket, peer: Socket) => void, options: PairOptions = {}) {
    await using pair = await connectedPair(options)
    pair.accepted.on('error', () => {})
    pair.client.resume()
    run(pair.client, pair.accepted)
    return await messagesOf(pair.client)
  }

  test('for a connection that was not set', async () => {
    // Set by Node alone; its count is 10, so only the user timeout could end it in time.
    await using pair = await connectedPair()
    pair.client.destroy(Object.assign(new Error(), { errno: -110, syscall: 'read' }))
    expect(await messagesOf(pair.client)).toEqual([])
  })

  test('for an orderly end', async () => {
    const messages = await untold((socket, peer) => {
      setKeepalive(socket, true)
      peer.end()
    })
    expect(messages).toEqual([])
  })

  test('for a reset: that peer is alive', async () => {
    const messages = await untold((socket, peer) => {
      setKeepalive(socket, true)
      peer.resetAndDestroy()
    })
    expect(messages).toEqual([])
  })

  test("for a program's own timer", async () => {
    const messages = await untold((socket) => {
      setKeepalive(socket, true)
      socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' }))
    })
    expect(messages).toEqual([])
  })

  test('for a refused connect', async () => {
    const socket = connect(1, '127.0.0.1')
    setUserTimeout(socket, 1000)
    expect(await messagesOf(socket)).toEqual([])
  })
})

describe.concurrent('a subscriber that throws', () => {
  const SCENE = `
    const { subscribe } = require('node:diagnostics_channel')
    const { once } = require('node:events')
    const { connect, createServer } = require('node:net')
    const { setUserTimeout } = require('tcp-keepalive')
    const { unplug } = require('tcp-keepalive/testing')
    const log = []
    subscribe('${NAME}', () => { log.push('first'); throw new Error('of a subscriber') })
    subscribe('${NAME}', () => { log.push('second') })
    const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1', () => {
      const socket = connect(server.address().port, '127.0.0.1', () => {
        setUserTimeout(socket, 1000)
        unplug(socket)
        socket.write('x')
      }).resume()
      socket.on('error', ({ message }) => log.push(message))
      socket.on('close', (hadError) => {
        log.push(hadError)
        // The other end knows nothing of this and would keep the process alive.
        setTimeout(() => console.log(JSON.stringify(log)) ?? process.exit(), 50)
      })
    })
  `

  test("harms neither the socket nor the other subscribers; Node's channel reports it as uncaught", async () => {
    const handler = `process.on('uncaughtException', ({ message }) => log.push('uncaught: ' + message));`
    expect(await answerOf<unknown[]>(handler + SCENE)).toEqual([
      'first',
      'second',
      'uncaught: of a subscriber',
      'read ETIMEDOUT',
      true,
    ])
  })

  test('as uncaught errors do, it ends a process that has no handler for them', async () => {
    const { code, stderr } = await runNode(SCENE)
    expect(code).not.toBe(0)
    expect(stderr).toContain('of a subscriber')
  })
})

describe('onDeadPeer', () => {
  test('passes each message of the channel, alone, until it is stopped', async () => {
    const calls: [string, unknown[]][] = []
    const listen = (name: string) =>
      onDeadPeer((...given) => calls.push([name, given.filter(({ socket }) => mine.has(socket))]))
    const mine = new Set<Socket>()
    const die = async () => {
      await using pair = await connectedPair()
      mine.add(pair.client)
      pair.accepted.on('error', () => {})
      DEATHS.idle(pair.client.resume())
      const [message] = await messagesOf(pair.client)
      return message
    }
    const stops = { one: listen('one'), other: listen('other') }
    const first = await die()
    stops.one()
    stops.one()
    const second = await die()
    stops.other()
    await die()
    expect(calls.filter(([, given]) => given.length > 0)).toEqual([
      ['one', [first]],
      ['other', [first]],
      ['other', [second]],
    ])
  })

  test('the same listener twice is two, each with a stop of its own', async () => {
    let calls = 0
    const socket = new Socket()
    const count = (message: DeadPeerMessage) => {
      if (message.socket === socket) calls++
    }
    const [stop, stopOther] = [onDeadPeer(count), onDeadPeer(count)]
    channel(NAME).publish({ socket })
    expect(calls).toBe(2)
    stop()
    stop()
    channel(NAME).publish({ socket })
    expect(calls).toBe(3)
    stopOther()
    channel(NAME).publish({ socket })
    expect(calls).toBe(3)
    all.splice(0, all.length, ...all.filter((message) => message.socket !== socket))
  })

  test('what it throws is uncaught, and the socket ends as it would', async () => {
    const log = await answerOf<unknown[]>(`
      const { once } = require('node:events')
      const { connect, createServer } = require('node:net')
      const { onDeadPeer, setUserTimeout } = require('tcp-keepalive')
      const { unplug } = require('tcp-keepalive/testing')
      const log = []
      process.on('uncaughtException', ({ message }) => log.push('uncaught: ' + message))
      onDeadPeer(() => { throw new Error('of a listener') })
      const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1', () => {
        const socket = connect(server.address().port, '127.0.0.1', () => {
          setUserTimeout(socket, 1000)
          unplug(socket)
          socket.write('x')
        }).resume()
        socket.on('error', ({ message }) => log.push(message))
        socket.on('close', () => setTimeout(() => console.log(JSON.stringify(log)) ?? process.exit(), 50))
      })
    `)
    expect(log).toEqual(['uncaught: of a listener', 'read ETIMEDOUT'])
  })

  test('does not keep the process running, and needs no binary', async () => {
    const ended = await runNode(`
      require('node-gyp-build') // and then nothing may ask it for a binary
      require.cache[require.resolve('node-gyp-build')].exports = () => { throw new Error('asked') }
      const { onDeadPeer } = require('tcp-keepalive')
      onDeadPeer(() => {})
      console.log('ends')
    `)
    expect(ended).toEqual({ code: 0, signal: null, stdout: 'ends\n', stderr: '' })
  })

  const WRONG: [string, unknown[], string, string][] = [
    ['nothing', [], 'ERR_INVALID_ARG_TYPE', 'Expected a function for the listener'],
    [
      'a socket first',
      [new Socket(), () => {}],
      'ERR_INVALID_ARG_TYPE',
      'the message has the socket',
    ],
    ['an object', [{}], 'ERR_INVALID_ARG_TYPE', 'received {} (object)'],
    ['more', [() => {}, {}], 'ERR_INVALID_ARG_VALUE', 'no more than 1 argument, onDeadPeer('],
  ]
  test.each(WRONG)('%s is refused', (_, given, code, words) => {
    const call = () => onDeadPeer(...(given as [() => void]))
    expect(call).toThrow(TypeError)
    expect(call).toThrow(words)
    expect(call).toThrow(expect.objectContaining({ code }))
  })
})

test('without a subscriber nothing is asked and nothing is made', async () => {
  expect(channel(NAME).hasSubscribers).toBe(true)
  unsubscribe(NAME, collect)
  try {
    expect(channel(NAME).hasSubscribers).toBe(false)
    await using pair = await connectedPair()
    DEATHS.idle(pair.client.resume())
    const [error] = await once(pair.client, 'error').catch((reason: unknown) => [reason])
    expect(error).toMatchObject({ code: 'ETIMEDOUT' })
    expect(all.filter(({ socket }) => socket === pair.client)).toEqual([])
  } finally {
    subscribe(NAME, collect)
  }
})
