import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { wordsOf, wordsSoon } from '../stories.mjs'

const host = '127.0.0.1'
const config = { host, user: 'test', database: 'postgres', max: 1 }

/** The loop's body is at work when the connection goes silent, for longer than the dead-peer time. */
const work = () => sleep(7000)

const reservation =
  (next) =>
  async ({ port, cut }) => {
    const sql = postgres({ ...config, port })
    const reserved = await sql.reserve()
    await reserved`select 1`
    cut()
    const outcome = await wordsOf(reserved`select 1`)
    // Until the socket has closed.
    await sleep(100)
    return `${outcome}; the next query ${await wordsSoon(next(sql, reserved))}`
  }

export const drivers = {
  'postgres.js': {
    server: 'postgres',
    option: 'socket',
    open({ port, guard }) {
      const socket = () => {
        const socket = connect(port, host)
        guard(socket)
        return socket
      }
      const sql = postgres({ ...config, port, ...(guard && { socket }) })
      return { query: () => sql`select 1` }
    },
  },
  'postgres.js, listen()': {
    server: 'postgres',
    expects: 'listens again',
    async story({ port, cut }) {
      const sql = postgres({ ...config, port })
      let again
      const listening = new Promise((resolve) => {
        again = resolve
      })
      let times = 0
      await sql.listen(
        'channel',
        () => {},
        () => ++times === 2 && again(),
      )
      cut()
      await listening
      return 'listens again'
    },
  },
  'postgres.js, cursor, silent while it waits': {
    server: 'postgres',
    expects: "rejects with the kernel's error",
    story({ port, cut }) {
      const sql = postgres({ ...config, port })
      const read = async () => {
        let batches = 0
        for await (const _ of sql`select generate_series(1, 1000)`.cursor(10)) {
          if (++batches === 3) cut()
        }
      }
      return wordsOf(read())
    },
  },
  'postgres.js, cursor, silent while the body works': {
    server: 'postgres',
    expects: 'ends as if complete after 10 of 1000 rows',
    async story({ port, cut }) {
      const sql = postgres({ ...config, port })
      let count = 0
      for await (const rows of sql`select generate_series(1, 1000)`.cursor(10)) {
        count += rows.length
        cut()
        await work()
      }
      return `ends as if complete after ${count} of 1000 rows`
    },
  },
  'postgres.js, cursor with a callback, silent while it works': {
    server: 'postgres',
    expects: "rejects with the kernel's error",
    // It asks for more rows where there is no socket any more.
    uncaught: "TypeError:  Cannot read properties of null (reading 'write')",
    story({ port, cut }) {
      const sql = postgres({ ...config, port })
      return wordsOf(
        sql`select generate_series(1, 1000)`.cursor(10, async () => {
          cut()
          await work()
        }),
      ).finally(work)
    },
  },
  'postgres.js, cursor with a callback that does not end after the error': {
    server: 'postgres',
    expects: "rejects with the kernel's error",
    story({ port, cut }) {
      const sql = postgres({ ...config, port })
      let failed = false
      const query = sql`select generate_series(1, 1000)`.cursor(10, async () => {
        cut()
        await work()
        if (failed) await new Promise(() => {})
      })
      query.catch(() => {
        failed = true
      })
      return wordsOf(query).finally(work)
    },
  },
  'postgres.js, reserve(), used again after the error': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query is stuck",
    uncaught: "TypeError:  Cannot read properties of null (reading 'write')",
    story: reservation((_, reserved) => reserved`select 1`),
  },
  'postgres.js, reserve(), released after the error': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query is stuck",
    uncaught: "TypeError:  Cannot read properties of null (reading 'write')",
    story: reservation((sql, reserved) => {
      reserved.release()
      return sql`select 1`
    }),
  },
  'postgres.js, reserve(), not released after the error': {
    server: 'postgres',
    expects: "rejects with the kernel's error; the next query resolves",
    story: reservation((sql) => sql`select 1`),
  },
}
