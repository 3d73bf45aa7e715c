import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import mssql from 'mssql'
import { Connection, Request } from 'tedious'
import { readSlowly, silentInside, wordsOf, wordsSoon } from '../stories.mjs'

const host = '127.0.0.1'

/** tedious's own option, through which mssql gets it, too. */
const connector = (guard, port) =>
  guard && {
    async connector() {
      const socket = connect(port, host)
      guard(socket)
      await once(socket, 'connect')
      return socket
    },
  }

async function openTedious({ port, guard, onError }) {
  const connection = new Connection({
    server: host,
    authentication: { type: 'default', options: { userName: 'test', password: 'test' } },
    options: {
      ...{ encrypt: false, requestTimeout: 0 },
      ...(guard ? connector(guard, port) : { port }),
    },
  })
  connection.on('error', onError)
  await new Promise((resolve, reject) => {
    connection.connect((error) => (error ? reject(error) : resolve()))
  })
  return connection
}

const run = (connection, sql, onRow) =>
  new Promise((resolve, reject) => {
    const request = new Request(sql, (error) => (error ? reject(error) : resolve()))
    if (onRow) request.on('row', () => onRow(request))
    connection.execSqlBatch(request)
  })

async function openPool({ port, guard, onError }) {
  const pool = new mssql.ConnectionPool({
    ...{ server: host, port, user: 'test', password: 'test', requestTimeout: 0 },
    pool: { max: 1, min: 1, idleTimeoutMillis: 600_000 },
    options: { encrypt: false, ...connector(guard, port) },
  })
  pool.on('error', onError)
  await pool.connect()
  return pool
}

const kernels = "rejects with the kernel's error"

export const drivers = {
  tedious: {
    server: 'sqlServer',
    option: 'options.connector',
    async open(given) {
      const connection = await openTedious(given)
      return { query: () => run(connection, 'select 1') }
    },
  },
  mssql: {
    server: 'sqlServer',
    option: 'options.connector',
    async open(given) {
      const pool = await openPool(given)
      return { query: () => pool.query('select 1') }
    },
  },
  'tedious, no listener': {
    server: 'sqlServer',
    expects: kernels,
    uncaught: 'Error: ESOCKET Connection lost - read ETIMEDOUT',
    async story(given) {
      const connection = await openTedious(given)
      connection.removeAllListeners('error')
      given.cut()
      return wordsOf(run(connection, 'select 1'))
    },
  },
  'tedious, rows': {
    server: 'sqlServer',
    expects: kernels,
    async story(given) {
      const connection = await openTedious(given)
      let count = 0
      const onRow = (request) => {
        if (++count === 20) given.cut()
        request.pause()
        setTimeout(() => request.resume(), 2)
      }
      return wordsOf(run(connection, 'endless', onRow))
    },
  },
  'mssql, silent during a query': {
    server: 'sqlServer',
    expects: `${kernels}; the next query resolves`,
    async story(given) {
      const pool = await openPool(given)
      const query = pool.query('waitfor')
      await sleep(500)
      given.cut()
      return `${await wordsOf(query)}; the next query ${await wordsSoon(pool.query('select 1'))}`
    },
  },
  'mssql, stream': {
    server: 'sqlServer',
    expects: kernels,
    async story(given) {
      const pool = await openPool(given)
      const request = pool.request()
      request.stream = true
      const rows = request.toReadableStream()
      request.query('endless')
      return wordsOf(readSlowly(rows, given.cut))
    },
  },
  'mssql, transaction, silent inside': {
    server: 'sqlServer',
    expects: `${kernels}; then each query resolves`,
    story: silentInside(async (given) => {
      const pool = await openPool(given)
      return {
        query: () => pool.query('select 1'),
        async transaction(body) {
          const transaction = pool.transaction()
          await transaction.begin()
          try {
            await body(() => transaction.request().query('select 1'))
            await transaction.commit()
          } catch (error) {
            await transaction.rollback().catch(() => {})
            throw error
          }
        },
      }
    }),
  },
}
