/**
 * The same death, once on a socket that is read (Node finds it) and once on one that
 * nobody reads (this library does): event by event the same. Where they differ the
 * test says so.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { finished, pipeline, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { setUserTimeout } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { closed, DEATHS, stall, stalled } from './support/death.ts'
import { listen } from './support/listen.ts'
import { connectedPair, type Pair, type PairOptions } from './support/pair.ts'

type Reader = 'read' | 'unread'

/** A connection whose client end is read to the last byte, or is stalled. */
async function pairWith(reader: Reader, options: PairOptions = {}): Promise<Pair> {
  const pair = await connectedPair(options)
  pair.accepted.on('error', () => {})
  if (reader === 'read') {
    pair.client.resume()
    pair.accepted.write('ready')
    await once(pair.client, 'data')
  } else {
    await stall(pair.client, pair.accepted)
  }
  return pair
}

/** Until so much has been read to its last byte, or nobody reads any more. */
async function settled(reader: Reader, socket: Socket, size: number): Promise<void> {
  if (reader === 'unread') await stalled(socket)
  else while (socket.bytesRead < size) await sleep(20)
}

/** What can be seen of an error, the places in Node's own sources left out. */
function seen(error: unknown) {
  const thrown = error as Error
  return {
    message: thrown.message,
    name: thrown.name,
    constructor: thrown.constructor.name,
    fields: { ...thrown },
    firstLine: thrown.stack?.split('\n')[0],
  }
}

/** Runs the same on both and gives both answers. */
async function both<T>(run: (reader: Reader) => Promise<T>): Promise<{ read: T; unread: T }> {
  const [read, unread] = await Promise.all([run('read'), run('unread')])
  return { read, unread }
}

const KINDS: [string, PairOptions][] = [
  ['plain', {}],
  ['half open', { allowHalfOpen: true }],
  ['TLS', { tls: true }],
]

for (const [kind, options] of KINDS) {
  for (const way of ['idle', 'inFlight'] as const) {
    test.concurrent(`${kind}, ${way}: the same events in the same order with the same error`, async () => {
      const { read, unread } = await both(async (reader) => {
        await using pair = await pairWith(reader, options)
        const { client } = pair
        const log: unknown[] = []
        for (const event of ['end', 'finish', 'timeout', 'drain'] as const) {
          client.on(event, () => log.push(event))
        }
        client.on('error', (error) =>
          log.push(['error', seen(error), client.destroyed, client.errored === error]),
        )
        client.on('close', (hadError) => log.push(['close', hadError, client.closed]))
        DEATHS[way](client)
        await closed(client)
        await sleep(150)
        return log
      })
      expect(unread).toEqual(read)
      expect(unread).toMatchObject([
        ['error', { message: 'read ETIMEDOUT', constructor: 'Error' }, true, true],
        ['close', true, true],
      ])
    })
  }
}

describe.concurrent('streams', () => {
  test('finished() gets the same error', async () => {
    const { read, unread } = await both(async (reader) => {
      await using pair = await pairWith(reader)
      DEATHS.inFlight(pair.client)
      const error = await new Promise<unknown>((resolve) => finished(pair.client, resolve))
      return [seen(error), error === pair.client.errored]
    })
    expect(unread).toEqual(read)
    expect(unread).toMatchObject([{ message: 'read ETIMEDOUT' }, true])
  })

  test('pipeline() gets the same error and destroys its other end with it', async () => {
    const { read, unread } = await both(async (reader) => {
      await using pair = await connectedPair()
      pair.accepted.on('error', () => {})
      pair.accepted.write(Buffer.alloc(4 << 20))
      const target = new Writable({
        write(_chunk, _encoding, done) {
          if (reader === 'read') done()
        },
      })
      const ended = new Promise<unknown>((resolve) => pipeline(pair.client, target, resolve))
      await settled(reader, pair.client, 4 << 20)
      DEATHS.idle(pair.client)
      const error = await ended
      return [seen(error), error === pair.client.errored, target.destroyed]
    })
    expect(unread).toEqual(read)
    expect(unread).toMatchObject([{ message: 'read ETIMEDOUT' }, true, true])
  })

  test('async iteration ends with the same error, at the next step', async () => {
    const { read, unread } = await both(async (reader) => {
      await using pair = await connectedPair()
      pair.accepted.on('error', () => {})
      pair.accepted.write(Buffer.alloc(4 << 20))
      const iteration = (async () => {
        for await (const _ of pair.client) {
          if (reader === 'unread') await closed(pair.client)
        }
      })().catch(seen)
      await settled(reader, pair.client, 4 << 20)
      DEATHS.idle(pair.client)
      return await iteration
    })
    expect(unread).toEqual(read)
    expect(unread).toMatchObject({ message: 'read ETIMEDOUT' })
  })
})

/** What Node tells a pending write of a socket that was destroyed for another reason. */
const CANCELED = process.version.startsWith('v20.') ? null : 'write ECANCELED'

describe.concurrent('writes', () => {
  test('what the kernel had taken was called back, what waited and what comes later fails in the same way', async () => {
    const { read, unread } = await both(async (reader) => {
      await using pair = await pairWith(reader)
      const { client } = pair
      const log: unknown[] = []
      const told = (name: string) => (error?: Error | null) =>
        log.push([name, error?.message ?? null])
      client.on('error', ({ message }) => log.push(['error', message]))
      setUserTimeout(client, 1000)
      unplug(client)
      client.write('x', told('before'))
      await sleep(100)
      client.cork()
      client.write('x', told('corked'))
      await closed(client)
      client.write('x', told('after'))
      await sleep(50)
      return log
    })
    expect(unread).toEqual(read)
    expect(unread).toEqual([
      ['before', null],
      ['corked', 'read ETIMEDOUT'],
      ['error', 'read ETIMEDOUT'],
      ['after', 'Cannot call write after a stream was destroyed'],
    ])
  })

  // Where a write is pending the socket is in the event loop, and Node finds the death
  // itself: by the read that is up first, or, where nobody reads, by the write.
  test('a pending one: Node reports the error, of a read or of a write', async () => {
    const { read, unread } = await both(async (reader) => {
      await using pair = await connectedPair()
      const { client, accepted } = pair
      accepted.on('error', () => {})
      if (reader === 'read') client.resume()
      else await stall(client, accepted)
      const log: unknown[] = []
      client.on('error', ({ message }) => log.push(['error', message]))
      setUserTimeout(client, 1000)
      unplug(client)
      client.write(Buffer.alloc(16 << 20), (error) =>
        log.push(['callback', error?.message ?? null]),
      )
      await closed(client)
      await sleep(150)
      return log
    })
    expect(read).toEqual([
      ['error', 'read ETIMEDOUT'],
      ['callback', CANCELED],
    ])
    expect(unread).toEqual([
      ['callback', 'write ETIMEDOUT'],
      ['error', 'write ETIMEDOUT'],
    ])
  })
})

describe.concurrent("AsyncLocalStorage's store inside 'error'", () => {
  const store = new AsyncLocalStorage<string>()

  async function storeInError(socket: Socket): Promise<string | undefined> {
    const seenStore = new Promise<string | undefined>((resolve) =>
      store.run('listener', () => {
        socket.on('error', () => resolve(store.getStore()))
      }),
    )
    store.run('elsewhere', () => {
      unplug(socket)
      socket.write('x')
    })
    return seenStore
  }

  async function clientStore(reader: Reader, whereSet: string, beforeConnect: boolean) {
    await using listening = await listen(
      createServer((socket) => {
        socket.write(Buffer.alloc(4 << 20))
      }),
    )
    const client = store.run('connect', () => connect(listening.port, '127.0.0.1'))
    const set = (): void => store.run(whereSet, () => setUserTimeout(client, 1000))
    if (beforeConnect) set()
    await once(client, 'connect')
    if (!beforeConnect) set()
    if (reader === 'read') store.run('reader', () => client.resume())
    await settled(reader, client, 4 << 20)
    return storeInError(client)
  }

  test('a client that was set before it was connected: where it was connected', async () => {
    expect(await both((reader) => clientStore(reader, 'set', true))).toEqual({
      read: 'connect',
      unread: 'connect',
    })
  })

  test('a client that was set where it was connected: there', async () => {
    expect(await both((reader) => clientStore(reader, 'connect', false))).toEqual({
      read: 'connect',
      unread: 'connect',
    })
  })

  // A difference: nothing in JavaScript can enter the context that Node keeps in the handle.
  test('a client that was set elsewhere: where it was set, where Node has the connect', async () => {
    expect(await both((reader) => clientStore(reader, 'set', false))).toEqual({
      read: 'connect',
      unread: 'set',
    })
  })

  // A difference: Node makes the handle of an accepted socket outside of any context.
  test("an accepted socket of a set server: the server's, where Node has none", async () => {
    const accepted = async (reader: Reader) => {
      const server = store.run('listen', () => createServer())
      setUserTimeout(server, 1000)
      await using listening = await store.run('listen', () => listen(server))
      const peer = connect(listening.port, '127.0.0.1')
      peer.on('error', () => {})
      peer.write(Buffer.alloc(4 << 20))
      const [socket] = (await once(server, 'connection')) as [Socket]
      if (reader === 'read') socket.resume()
      await settled(reader, socket, 4 << 20)
      const result = await storeInError(socket)
      peer.destroy()
      return result
    }
    expect(await both(accepted)).toEqual({ read: undefined, unread: 'listen' })
  })

  test('many that die in one turn: each has its own', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `socket ${i}`)
    const stores = await Promise.all(
      names.map(async (name) => {
        await using pair = await connectedPair()
        await stall(pair.client, pair.accepted)
        store.run(name, () => DEATHS.idle(pair.client))
        const seenStore = new Promise((resolve) =>
          pair.client.on('error', () => resolve(store.getStore())),
        )
        return await seenStore
      }),
    )
    expect(stores).toEqual(names)
  })
})
