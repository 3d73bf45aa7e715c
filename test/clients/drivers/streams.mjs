import 'reflect-metadata'
import { pipeline } from 'node:stream/promises'
import knex from 'knex'
import { Kysely, PostgresDialect, sql } from 'kysely'
import mariadb from 'mariadb'
import mysql from 'mysql2'
import pg from 'pg'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import postgres from 'postgres'
import { DataSource } from 'typeorm'
import { BIG_MARIADB, BIG_POSTGRES, readSlowly, wordsOf } from '../stories.mjs'

const host = '127.0.0.1'
const config = { host, user: 'test', database: 'postgres' }
const mariadbConfig = { host, user: 'root' }

async function pgClient({ port, onError }) {
  const client = new pg.Client({ ...config, port })
  client.on('error', onError)
  await client.connect()
  return client
}

/** pg-cursor's close() waits for the server's answer, which does not come after an error of the connection. */
class ClosingCursor extends Cursor {
  async close() {
    if (this.state !== 'error') await super.close()
  }
}

function kyselyStream({ port, onError }, cursor) {
  const pool = new pg.Pool({ ...config, port, max: 1 })
  pool.on('error', onError).on('connect', (client) => client.on('error', onError))
  const db = new Kysely({ dialect: new PostgresDialect({ pool, cursor }) })
  const big = sql`(${sql.raw(BIG_POSTGRES)})`.as('big')
  return db.selectFrom(big).selectAll().stream(50)
}

async function* rowsOf(cursor) {
  for (let rows = await cursor.read(50); rows.length > 0; rows = await cursor.read(50)) yield* rows
}

const kernels = "rejects with the kernel's error"

export const drivers = {
  'pg-cursor': {
    server: 'postgres',
    expects: kernels,
    async story(given) {
      const client = await pgClient(given)
      return wordsOf(readSlowly(rowsOf(client.query(new Cursor(BIG_POSTGRES))), given.cut))
    },
  },
  'pg-cursor, close() after the error': {
    server: 'postgres',
    expects: 'stuck',
    async story(given) {
      const client = await pgClient(given)
      const cursor = client.query(new Cursor(BIG_POSTGRES))
      try {
        await readSlowly(rowsOf(cursor), given.cut)
      } finally {
        await cursor.close()
      }
    },
  },
  'pg-query-stream': {
    server: 'postgres',
    expects: 'stuck',
    async story(given) {
      const client = await pgClient(given)
      return wordsOf(readSlowly(client.query(new QueryStream(BIG_POSTGRES)), given.cut))
    },
  },
  'pg-query-stream, destroy(error)': {
    server: 'postgres',
    expects: 'stuck',
    async story(given) {
      const client = await pgClient(given)
      const stream = client.query(new QueryStream(BIG_POSTGRES))
      client.on('error', (error) => stream.destroy(error))
      return wordsOf(readSlowly(stream, given.cut))
    },
  },
  "pg-query-stream, emit('error')": {
    server: 'postgres',
    expects: kernels,
    async story(given) {
      const client = await pgClient(given)
      const stream = client.query(new QueryStream(BIG_POSTGRES))
      client.on('error', (error) => stream.emit('error', error))
      return wordsOf(readSlowly(stream, given.cut))
    },
  },
  "pg-query-stream in a pipeline, emit('error')": {
    server: 'postgres',
    expects: kernels,
    async story(given) {
      const client = await pgClient(given)
      const stream = client.query(new QueryStream(BIG_POSTGRES))
      client.on('error', (error) => stream.emit('error', error))
      return wordsOf(pipeline(stream, (rows) => readSlowly(rows, given.cut)))
    },
  },
  'postgres.js, forEach()': {
    server: 'postgres',
    expects: kernels,
    story({ port, cut }) {
      const sql = postgres({ ...config, port, max: 1 })
      let count = 0
      return wordsOf(
        sql.unsafe(BIG_POSTGRES).forEach(() => {
          if (++count === 20) cut()
        }),
      )
    },
  },
  'knex on pg, stream()': {
    server: 'postgres',
    expects: 'stuck',
    story({ port, cut }) {
      const db = knex({ client: 'pg', connection: { ...config, port } })
      return wordsOf(readSlowly(db.raw(BIG_POSTGRES).stream(), cut))
    },
  },
  'knex on pg, stream(), destroy(error)': {
    server: 'postgres',
    expects: kernels,
    async story({ port, cut }) {
      const db = knex({ client: 'pg', connection: { ...config, port } })
      const connection = await db.client.acquireConnection()
      const stream = db.raw(BIG_POSTGRES).connection(connection).stream()
      connection.on('error', (error) => stream.destroy(error))
      return wordsOf(readSlowly(stream, cut))
    },
  },
  'knex on mysql2, stream()': {
    server: 'mariadb',
    expects: 'stuck',
    story({ port, cut }) {
      const db = knex({ client: 'mysql2', connection: { ...mariadbConfig, port } })
      return wordsOf(readSlowly(db.raw(BIG_MARIADB).stream(), cut))
    },
  },
  'knex on mysql2, stream(), destroy(error)': {
    server: 'mariadb',
    expects: kernels,
    async story({ port, cut }) {
      const db = knex({ client: 'mysql2', connection: { ...mariadbConfig, port } })
      const connection = await db.client.acquireConnection()
      const stream = db.raw(BIG_MARIADB).connection(connection).stream()
      connection.on('error', (error) => stream.destroy(error))
      return wordsOf(readSlowly(stream, cut))
    },
  },
  'kysely on pg, stream()': {
    server: 'postgres',
    expects: 'stuck',
    story: (given) => wordsOf(readSlowly(kyselyStream(given, Cursor), given.cut)),
  },
  'kysely on pg, stream(), a cursor that closes': {
    server: 'postgres',
    expects: kernels,
    story: (given) => wordsOf(readSlowly(kyselyStream(given, ClosingCursor), given.cut)),
  },
  'typeorm on pg, stream()': {
    server: 'postgres',
    expects: 'stuck',
    async story({ port, cut, onError }) {
      const db = new DataSource({
        ...{ type: 'postgres', host, port, username: 'test', database: 'postgres' },
        ...{ poolSize: 1, poolErrorHandler: onError },
      })
      await db.initialize()
      const runner = db.createQueryRunner()
      return wordsOf(readSlowly(await runner.stream(BIG_POSTGRES), cut))
    },
  },
  "typeorm on pg, stream(), emit('error')": {
    server: 'postgres',
    expects: kernels,
    async story({ port, cut, onError }) {
      const db = new DataSource({
        ...{ type: 'postgres', host, port, username: 'test', database: 'postgres' },
        ...{ poolSize: 1, poolErrorHandler: onError },
      })
      await db.initialize()
      const runner = db.createQueryRunner()
      const client = await runner.connect()
      const stream = await runner.stream(BIG_POSTGRES)
      client.on('error', (error) => stream.emit('error', error))
      return wordsOf(readSlowly(stream, cut))
    },
  },
  'mysql2, stream()': {
    server: 'mariadb',
    expects: 'stuck',
    story({ port, cut, onError }) {
      const connection = mysql.createConnection({ ...mariadbConfig, port })
      connection.on('error', onError)
      return wordsOf(readSlowly(connection.query(BIG_MARIADB).stream(), cut))
    },
  },
  'mysql2, stream(), destroy(error)': {
    server: 'mariadb',
    expects: kernels,
    story({ port, cut }) {
      const connection = mysql.createConnection({ ...mariadbConfig, port })
      const stream = connection.query(BIG_MARIADB).stream()
      connection.on('error', (error) => stream.destroy(error))
      return wordsOf(readSlowly(stream, cut))
    },
  },
  'mariadb, queryStream()': {
    server: 'mariadb',
    expects: kernels,
    async story({ port, cut, onError }) {
      const connection = await mariadb.createConnection({ ...mariadbConfig, port })
      connection.on('error', onError)
      return wordsOf(readSlowly(connection.queryStream(BIG_MARIADB), cut))
    },
  },
}
