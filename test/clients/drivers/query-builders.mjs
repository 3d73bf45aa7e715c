import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import knex from 'knex'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import { connecting, unconnected } from '../sockets.mjs'
import { wordsOf, wordsSoon } from '../stories.mjs'

const host = '127.0.0.1'
const config = { host, user: 'test', database: 'postgres' }

function pgPool({ port, guard, onError }) {
  const pool = new pg.Pool({
    ...{ ...config, port, max: 1, idleTimeoutMillis: 0 },
    ...unconnected(guard),
  })
  pool.on('error', onError)
  return pool
}

export const drivers = {
  'knex on pg': {
    server: 'postgres',
    option: 'connection.stream',
    open({ port, guard }) {
      const db = knex({
        client: 'pg',
        connection: { ...config, port, ...unconnected(guard) },
        pool: { min: 1, max: 1 },
      })
      return { query: () => db.raw('select 1') }
    },
  },
  'knex on mysql2': {
    server: 'mariadb',
    option: 'connection.stream',
    open({ port, guard }) {
      const db = knex({
        client: 'mysql2',
        connection: { host, port, user: 'root', ...connecting(guard, port) },
        pool: { min: 1, max: 1 },
      })
      return { query: () => db.raw('select 1') }
    },
  },
  'drizzle-orm on pg': {
    server: 'postgres',
    option: "pg's",
    open(given) {
      const db = drizzlePg({ client: pgPool(given) })
      return { query: () => db.execute(sql`select 1`) }
    },
  },
  'drizzle-orm on postgres.js': {
    server: 'postgres',
    option: "postgres.js's",
    open({ port, guard }) {
      const socket = () => {
        const socket = connect(port, host)
        guard(socket)
        return socket
      }
      const client = postgres({ ...config, port, max: 1, ...(guard && { socket }) })
      const db = drizzlePostgres({ client })
      return { query: () => db.execute(sql`select 1`) }
    },
  },
  'kysely on pg': {
    server: 'postgres',
    option: "pg's",
    open(given) {
      const pool = pgPool(given)
      // kysely takes a client out of the pool for each query, and leaves it without a listener.
      pool.on('connect', (client) => client.on('error', given.onError))
      const db = new Kysely({ dialect: new PostgresDialect({ pool }) })
      return { query: () => kyselySql`select 1`.execute(db) }
    },
  },
  'kysely on pg, no listener of the client': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query resolves",
    uncaught: 'Error: ETIMEDOUT read ETIMEDOUT',
    async story(given) {
      const db = new Kysely({ dialect: new PostgresDialect({ pool: pgPool(given) }) })
      const query = () => kyselySql`select 1`.execute(db)
      await query()
      await sleep(300)
      given.cut()
      return `${await wordsOf(query())}; the next query ${await wordsSoon(query())}`
    },
  },
}
