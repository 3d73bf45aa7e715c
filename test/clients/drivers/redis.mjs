import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { createIORedisClient, Queue, RedisConnection, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { Redis as Valkey } from 'iovalkey'
import { createClient } from 'redis'

const host = '127.0.0.1'

/** ioredis, and iovalkey, which came of it. */
const redisClient = (Client) => ({
  server: 'redis',
  option: 'connect event, redis.stream',
  async open({ port, guard, onError }) {
    const client = new Client({ host, port })
    client.on('error', onError)
    if (guard) client.on('connect', () => guard(client.stream))
    await once(client, 'ready')
    return { query: () => client.ping() }
  },
})

/** What makes each connection of bullmq, also the one that a Worker blocks. */
function bullmqConnection({ port, guard }) {
  if (guard) {
    RedisConnection.clientFactory = (options) => {
      const client = new Redis(options)
      client.on('connect', () => guard(client.stream))
      return createIORedisClient(client)
    }
  }
  return { host, port }
}

let queues = 0
const queueName = () => `queue${queues++}-${process.pid}`

export const drivers = {
  ioredis: redisClient(Redis),
  iovalkey: redisClient(Valkey),
  redis: {
    server: 'redis',
    async open({ port, onError }) {
      const client = createClient({ socket: { host, port } })
      client.on('error', onError)
      await client.connect()
      return { query: () => client.ping() }
    },
  },
  'bullmq, Queue': {
    server: 'redis',
    pause: 1000,
    option: 'RedisConnection.clientFactory',
    async open(given) {
      const queue = new Queue(queueName(), { connection: bullmqConnection(given) })
      queue.on('error', given.onError)
      await queue.waitUntilReady()
      return { query: () => queue.add('job', {}, { removeOnComplete: true }) }
    },
  },
  /** Idle in BZPOPMIN; a job that comes after the cut, from another process, so to say. */
  'bullmq, Worker': {
    server: 'redis',
    option: 'RedisConnection.clientFactory',
    async story(given) {
      const connection = bullmqConnection(given)
      const name = queueName()
      const worker = new Worker(name, async () => {}, { connection })
      worker.on('error', given.onError)
      await worker.waitUntilReady()
      await sleep(500)
      given.cut()
      const queue = new Queue(name, { connection })
      await queue.add('job', {}, { removeOnComplete: true })
      // Not once(), which rejects at 'error'.
      return new Promise((resolve) => worker.on('completed', () => resolve('the job is done')))
    },
    expects: 'the job is done',
  },
}
