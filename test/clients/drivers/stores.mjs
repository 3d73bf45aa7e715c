import { once } from 'node:events'
import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { createClient } from 'redis'

const host = '127.0.0.1'

export const drivers = {
  ioredis: {
    server: 'redis',
    option: 'connect event, redis.stream',
    async open({ port, guard, onError }) {
      const client = new Redis({ host, port })
      client.on('error', onError)
      if (guard) client.on('connect', () => guard(client.stream))
      await once(client, 'ready')
      return { query: () => client.ping() }
    },
  },
  redis: {
    server: 'redis',
    async open({ port, onError }) {
      const client = createClient({ socket: { host, port } })
      client.on('error', onError)
      await client.connect()
      return { query: () => client.ping() }
    },
  },
  mongodb: {
    server: 'acceptor',
    optionsOnly: true,
    open({ port }) {
      const client = new MongoClient(`mongodb://${host}:${port}`, {
        serverSelectionTimeoutMS: 3000,
      })
      client.connect().catch(() => {})
      return {}
    },
  },
}
