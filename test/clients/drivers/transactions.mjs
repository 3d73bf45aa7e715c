import 'reflect-metadata'
import { PrismaPg } from '@prisma/adapter-pg'
import { sql } from 'drizzle-orm'
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import knex from 'knex'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import mariadb from 'mariadb'
import mysql from 'mysql2/promise'
import pg from 'pg'
import postgres from 'postgres'
import { Sequelize } from 'sequelize'
import { DataSource } from 'typeorm'
import { isDeadPeerError } from '../../../dist/index.js'
import { PrismaClient } from '../prisma-client.mjs'
import { silentBefore, silentInside } from '../stories.mjs'

const host = '127.0.0.1'
const config = { host, user: 'test', database: 'postgres', max: 1 }

function pgPool({ port, onError }) {
  const pool = new pg.Pool({ ...config, port, idleTimeoutMillis: 0 })
  // Idle ones; and those that are checked out, which have no listener of the pool.
  pool.on('error', onError).on('connect', (client) => client.on('error', onError))
  return pool
}

function onDrizzle(client) {
  const db = drizzlePg({ client })
  return {
    query: () => db.execute(sql`select 1`),
    transaction: (body) => db.transaction((tx) => body(() => tx.execute(sql`select 1`))),
  }
}

/** Each with a pool of one. */
const onPostgres = {
  'postgres.js': ({ port }) => {
    const sql = postgres({ ...config, port })
    return {
      query: () => sql`select 1`,
      transaction: (body) => sql.begin((tx) => body(() => tx`select 1`)),
    }
  },
  'drizzle-orm on pg': (given) => onDrizzle(pgPool(given)),
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
  'Prisma, @prisma/adapter-pg': ({ port, onError }) => {
    const adapter = new PrismaPg(
      { ...config, port, idleTimeoutMillis: 0 },
      { onPoolError: onError, onConnectionError: onError },
    )
    const prisma = new PrismaClient({ adapter })
    return {
      query: () => prisma.$queryRaw`select 1`,
      transaction: (body) =>
        prisma.$transaction((tx) => body(() => tx.$queryRaw`select 1`), {
          maxWait: 60_000,
          timeout: 60_000,
        }),
    }
  },
}

const mariadbConfig = { host, user: 'root', connectionLimit: 1 }

const onMariadb = {
  'mysql2, pool': ({ port }) => {
    const pool = mysql.createPool({ ...mariadbConfig, port })
    return {
      query: () => pool.query('select 1'),
      async transaction(body) {
        const connection = await pool.getConnection()
        try {
          await connection.beginTransaction()
          await body(() => connection.query('select 1'))
          await connection.commit()
        } catch (error) {
          await connection.rollback().catch(() => {})
          throw error
        } finally {
          connection.release()
        }
      },
    }
  },
  'mariadb, pool': ({ port, onError }) => {
    const pool = mariadb.createPool({ ...mariadbConfig, port })
    pool.on('error', onError)
    return {
      query: () => pool.query('select 1'),
      async transaction(body) {
        const connection = await pool.getConnection()
        try {
          await connection.beginTransaction()
          await body(() => connection.query('select 1'))
          await connection.commit()
        } catch (error) {
          await connection.rollback().catch(() => {})
          throw error
        } finally {
          await connection.release()
        }
      },
    }
  },
  'knex on mysql2': ({ port }) => {
    const db = knex({
      ...{ client: 'mysql2', connection: { host, port, user: 'root' } },
      pool: { min: 1, max: 1 },
    })
    return {
      query: () => db.raw('select 1'),
      transaction: (body) => db.transaction((tx) => body(() => tx.raw('select 1'))),
    }
  },
  'typeorm on mysql2': async ({ port }) => {
    const db = new DataSource({
      ...{ type: 'mysql', host, port, username: 'root', poolSize: 1, logging: false },
    })
    await db.initialize()
    return {
      query: () => db.query('select 1'),
      transaction: (body) => db.transaction((tx) => body(() => tx.query('select 1'))),
    }
  },
  'sequelize on mysql2': ({ port }) => {
    const db = new Sequelize({
      ...{ dialect: 'mysql', host, port, username: 'root' },
      ...{ logging: false, pool: { max: 1, min: 1, idle: 600_000 } },
    })
    return {
      query: () => db.query('select 1'),
      transaction: (body) =>
        db.transaction((transaction) => body(() => db.query('select 1', { transaction }))),
    }
  },
}

const usual = "rejects with the kernel's error; then each query resolves"
const notQueryable = 'Client has encountered a connection error and is not queryable'

/** Those that roll back on the dead connection reject with what comes of that. */
const inside = {
  'postgres.js': 'rejects: CONNECTION_CLOSED; then a query resolves, the next one is stuck',
  'drizzle-orm on pg': 'rejects: Failed query: rollback; then each query resolves',
  'drizzle-orm on postgres.js':
    'rejects: CONNECTION_CLOSED; then a query resolves, the next one is stuck',
  'knex on pg': `rejects: ROLLBACK - ${notQueryable}; then each query resolves`,
  'knex on mysql2':
    "rejects: ROLLBACK - Can't add new command when connection is in closed state; then each query resolves",
  'kysely on pg': `rejects: ${notQueryable}; then each query resolves`,
  'Prisma, @prisma/adapter-pg': 'rejects: P2010; then each query resolves',
}
const before = {
  // It keeps the client.
  'drizzle-orm on pg': "rejects with the kernel's error; then a query is stuck",
  'Prisma, @prisma/adapter-pg': 'rejects: P1008; then each query resolves',
}

/** A transaction's client is checked out: its 'error' is the program's. */
const withoutListener = {
  'drizzle-orm on pg, silent inside, no listener of the client': {
    server: 'postgres',
    expects: inside['drizzle-orm on pg'],
    uncaught: 'Error: ETIMEDOUT read ETIMEDOUT',
    story: silentInside((given) => {
      const pool = new pg.Pool({ ...config, port: given.port, idleTimeoutMillis: 0 })
      pool.on('error', given.onError)
      return onDrizzle(pool)
    }),
  },
}

/** What helps where it is not as usual. */
const remedies = {
  'postgres.js, silent inside, the body never settles': {
    server: 'postgres',
    expects: 'rejects: CONNECTION_CLOSED; then each query resolves',
    story: silentInside((given) => {
      const { query, transaction } = onPostgres['postgres.js'](given)
      const unlessDead = (error) => {
        // Without a rollback, which postgres.js would wait for.
        if (isDeadPeerError(error)) return new Promise(() => {})
        throw error
      }
      return { query, transaction: (body) => transaction((run) => body(run).catch(unlessDead)) }
    }),
  },
  'drizzle-orm on pg, silent before, a client of its own': {
    server: 'postgres',
    expects: usual,
    story: silentBefore((given) => {
      const pool = pgPool(given)
      return {
        query: () => pool.query('select 1'),
        async transaction(body) {
          const client = await pool.connect()
          let failure
          try {
            const db = drizzlePg({ client })
            await db.transaction((tx) => body(() => tx.execute(sql`select 1`)))
          } catch (error) {
            failure = error
            throw error
          } finally {
            client.release(failure)
          }
        },
      }
    }),
  },
}

const stories = (server, opens) =>
  Object.fromEntries(
    Object.entries(opens).flatMap(([name, open]) => [
      [
        `${name}, silent inside`,
        { server, expects: inside[name] ?? usual, story: silentInside(open) },
      ],
      [
        `${name}, silent before`,
        { server, expects: before[name] ?? usual, story: silentBefore(open) },
      ],
    ]),
  )

export const drivers = {
  ...stories('postgres', onPostgres),
  ...stories('mariadb', onMariadb),
  ...withoutListener,
  ...remedies,
}
