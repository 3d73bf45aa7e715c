import pg from 'pg'
import { unconnected } from '../sockets.mjs'
import { comes, wordsOf, wordsSoon } from '../stories.mjs'

const timedOut = 'Error: ETIMEDOUT read ETIMEDOUT'
const config = { host: '127.0.0.1', user: 'test', database: 'postgres' }

function openPool({ port, guard, onError }) {
  const pool = new pg.Pool({
    ...{ ...config, port, max: 1, idleTimeoutMillis: 0 },
    ...unconnected(guard),
  })
  pool.on('error', onError)
  return pool
}

/** A transaction as pg's documentation writes it, with a death between its queries. */
const transaction =
  ({ listen, release }) =>
  async (given) => {
    const pool = openPool(given)
    const client = await pool.connect()
    if (listen) client.on('error', given.onError)
    await client.query('begin')
    given.cut()
    const query = client.query('select 1')
    const outcome = await wordsOf(query)
    release(client, await query.catch((error) => error))
    return `${outcome}; the next query ${await wordsSoon(pool.query('select 1'))}`
  }

export const drivers = {
  'pg, Client': {
    server: 'postgres',
    option: 'stream',
    async open({ port, guard, onError }) {
      const client = new pg.Client({ ...config, port, ...unconnected(guard) })
      client.on('error', onError)
      await client.connect()
      return { query: () => client.query('select 1') }
    },
  },
  'pg, Pool': {
    server: 'postgres',
    option: 'stream',
    open(given) {
      const pool = openPool(given)
      return { query: () => pool.query('select 1') }
    },
  },
  'pg, Pool of one, transaction, release(error)': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query resolves",
    story: transaction({ listen: true, release: (client, error) => client.release(error) }),
  },
  'pg, Pool of one, transaction, release()': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query resolves",
    story: transaction({ listen: true, release: (client) => client.release() }),
  },
  'pg, Pool of one, transaction, no listener of the client': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query resolves",
    uncaught: timedOut,
    story: transaction({ listen: false, release: (client, error) => client.release(error) }),
  },
  'pg, Client, idle, no listener': {
    server: 'postgres',
    expects: "'close'",
    // As it never emits 'end' then.
    uncaught: [timedOut, 'Error:  Connection terminated unexpectedly'],
    async story({ port, cut }) {
      const client = new pg.Client({ ...config, port })
      await client.connect()
      cut()
      return comes(client.connection.stream, 'close')
    },
  },
  'pg, Pool, idle, no listener': {
    server: 'postgres',
    expects: "'remove'",
    uncaught: timedOut,
    async story({ port, cut }) {
      const pool = new pg.Pool({ ...config, port, idleTimeoutMillis: 0 })
      await pool.query('select 1')
      cut()
      return comes(pool, 'remove')
    },
  },
}
