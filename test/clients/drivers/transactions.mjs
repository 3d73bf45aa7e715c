import 'reflect-metadata'
import { PrismaPg } from '@prisma/adapter-pg'
import { sql } from 'drizzle-orm'
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import knex from 'knex'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import { Sequelize } from 'sequelize'
import { DataSource } from 'typeorm'
import { silentBefore, silentInside } from '../stories.mjs'

const host = '127.0.0.1'
const config = { host, user: 'test', database: 'postgres', max: 1 }

function pgPool({ port, onError }) {
  const pool = new pg.Pool({ ...config, port, idleTimeoutMillis: 0 })
  // Idle ones; and those that are checked out, which have no listener of the pool.
  pool.on('error', onError).on('connect', (client) => client.on('error', onError))
  return pool
}

/** Each with a pool of one. */
const open = {
  'postgres.js': ({ port }) => {
    const sql = postgres({ ...config, port })
    return {
      query: () => sql`select 1`,
      transaction: (body) => sql.begin((tx) => body(() => tx`select 1`)),
    }
  },
  'drizzle-orm on pg': (given) => {
    const db = drizzlePg({ client: pgPool(given) })
    return {
      query: () => db.execute(sql`select 1`),
      transaction: (body) => db.transaction((tx) => body(() => tx.execute(sql`select 1`))),
    }
  },
  'drizzle-orm on postgres.js': ({ port }) => {
    const db = drizzlePostgres({ client: postgres({ ...config, port }) })
    return {
      query: () => db.execute(sql`select 1`),
      transaction: (body) => db.transaction((tx) => body(() => tx.execute(sql`select 1`))),
    }
  },
  'knex on pg': ({ port }) => {
    const db = knex({ client: 'pg', connection: { ...config, port }, pool: { min: 1, max: 1 } })
    return {
      query: () => db.raw('select 1'),
      transaction: (body) => db.transaction((tx) => body(() => tx.raw('select 1'))),
    }
  },
  'kysely on pg': (given) => {
    const db = new Kysely({ dialect: new PostgresDialect({ pool: pgPool(given) }) })
    const select = kyselySql`select 1`
    return {
      query: () => select.execute(db),
      transaction: (body) => db.transaction().execute((tx) => body(() => select.execute(tx))),
    }
  },
  'typeorm on pg': async ({ port, onError }) => {
    const db = new DataSource({
      ...{ type: 'postgres', host, port, username: 'test', database: 'postgres' },
      ...{ poolSize: 1, poolErrorHandler: onError, extra: { idleTimeoutMillis: 0 } },
    })
    await db.initialize()
    return {
      query: () => db.query('select 1'),
      transaction: (body) => db.transaction((tx) => body(() => tx.query('select 1'))),
    }
  },
  'sequelize on pg': ({ port }) => {
    const db = new Sequelize({
      ...{ dialect: 'postgres', host, port, username: 'test', database: 'postgres' },
      ...{ logging: false, pool: { max: 1, min: 1, idle: 600_000 } },
    })
    return {
      query: () => db.query('select 1'),
      transaction: (body) =>
        db.transaction((transaction) => body(() => db.query('select 1', { transaction }))),
    }
  },
  '@prisma/adapter-pg': async ({ port, onError }) => {
    const factory = new PrismaPg(
      { ...config, port, idleTimeoutMillis: 0 },
      { onPoolError: onError, onConnectionError: onError },
    )
    const adapter = await factory.connect()
    const query = { sql: 'select 1', args: [], argTypes: [] }
    return {
      query: () => adapter.queryRaw(query),
      async transaction(body) {
        const tx = await adapter.startTransaction()
        try {
          await body(() => tx.queryRaw(query))
          await tx.commit()
        } catch (error) {
          await tx.rollback()
          throw error
        }
      },
    }
  },
}

/** What differs: the others reject, and the next query has a new connection. */
const inside = {}
const before = {}
const usual = "rejects with the kernel's error; the next query resolves"

export const drivers = Object.fromEntries(
  Object.entries(open).flatMap(([name, open]) => [
    [
      `${name}, silent inside`,
      { server: 'postgres', expects: usual, story: silentInside(open), ...inside[name] },
    ],
    [
      `${name}, silent before`,
      { server: 'postgres', expects: usual, story: silentBefore(open), ...before[name] },
    ],
  ]),
)
