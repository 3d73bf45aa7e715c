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
const open = {
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

const usual = "rejects with the kernel's error; then each query resolves"
const notQueryable = 'Client has encountered a connection error and is not queryable'

/** Those that roll back on the dead connection reject with what comes of that. */
const inside = {
  'postgres.js': 'rejects: CONNECTION_CLOSED; then a query resolves, the next one is stuck',
  'drizzle-orm on pg': 'rejects: Failed query: rollback; then each query resolves',
  'drizzle-orm on postgres.js':
    'rejects: CONNECTION_CLOSED; then a query resolves, the next one is stuck',
  'knex on pg': `rejects: ROLLBACK - ${notQueryable}; then each query resolves`,
  'kysely on pg': `rejects: ${notQueryable}; then each query resolves`,
  'Prisma, @prisma/adapter-pg': 'rejects: P2010; then each query resolves',
}
const before = {
  // It keeps the client.
  'drizzle-orm on pg': "rejects with the kernel's error; then each query is stuck",
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
      const { query, transaction } = open['postgres.js'](given)
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

export const drivers = {
  ...Object.fromEntries(
    Object.entries(open).flatMap(([name, open]) => [
      [
        `${name}, silent inside`,
        { server: 'postgres', expects: inside[name] ?? usual, story: silentInside(open) },
      ],
      [
        `${name}, silent before`,
        { server: 'postgres', expects: before[name] ?? usual, story: silentBefore(open) },
      ],
    ]),
  ),
  ...withoutListener,
  ...remedies,
}
