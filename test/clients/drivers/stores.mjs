import { once } from 'node:events'
import memjs from 'memjs'
import { MongoClient } from 'mongodb'

const host = '127.0.0.1'

/** One connection for queries, and the one that watches the server. */
async function openMongo({ port, onError }, options) {
  const client = new MongoClient(`mongodb://${host}:${port}`, { maxPoolSize: 1, ...options })
  client.on('serverHeartbeatFailed', ({ failure }) => onError(failure))
  await client.connect()
  return client.db('test').collection('documents')
}

/** The server does not come back: the driver waits for another one for `serverSelectionTimeoutMS`, unless it does not retry. */
const mongoGone = (options) => ({
  server: 'mongo',
  async story({ cut, ...given }) {
    const documents = await openMongo(given, { serverSelectionTimeoutMS: 3000, ...options })
    await documents.findOne()
    cut({ forGood: true })
    await documents.findOne()
    return 'an answer'
  },
  expects: 'rejects',
})

/**
 * If the query's connection dies first, the driver at once asks the server through the connection that
 * watches it. That one is cut, too, and now has data in flight: its time begins anew, and a retry waits for it.
 */
const MONITOR = 4500

const logger = { log() {} }

export const drivers = {
  mongodb: {
    server: 'mongo',
    pause: MONITOR,
    async open(given) {
      const documents = await openMongo(given)
      return { query: () => documents.findOne() }
    },
  },
  'mongodb, retryReads: false': {
    server: 'mongo',
    pause: MONITOR,
    async open(given) {
      const documents = await openMongo(given, { retryReads: false })
      return { query: () => documents.findOne() }
    },
  },
  'mongodb, the server stays silent': mongoGone(),
  'mongodb, likewise, retryReads: false': mongoGone({ retryReads: false }),
  'mongodb, a cursor': {
    server: 'mongo',
    async story({ cut, ...given }) {
      const documents = await openMongo(given)
      let read = 0
      for await (const _ of documents.find()) {
        if (++read === 100) cut()
      }
      return 'ends as if complete'
    },
    expects: 'rejects',
  },
  memjs: {
    server: 'memcached',
    open({ port }) {
      // Its own timer of half a second would be first.
      const client = memjs.Client.create(`${host}:${port}`, { timeout: 60, logger })
      return { query: () => client.set('key', 'value', {}) }
    },
  },
  'memjs, retries: 0': {
    server: 'memcached',
    open({ port }) {
      const client = memjs.Client.create(`${host}:${port}`, { timeout: 60, retries: 0, logger })
      return { query: () => client.set('key', 'value', {}) }
    },
  },
  /** Its own timer abandons the connection without closing it, and the end of that closes the next one, too. */
  'memjs, its own timer of half a second': {
    server: 'memcached',
    async story({ port, cut }) {
      const client = memjs.Client.create(`${host}:${port}`, { retries: 0, logger })
      await client.set('key', 'value', {})
      cut()
      await client.set('key', 'value', {}).catch(() => {})
      await client.set('key', 'value', {})
      await once(client.servers[0]._socket, 'close')
      return 'the next connection is closed with the abandoned one'
    },
    expects: 'the next connection is closed with the abandoned one',
  },
}
