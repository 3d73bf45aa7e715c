import mariadb from 'mariadb'
import mysqlCallbacks from 'mysql2'
import mysql from 'mysql2/promise'
import { connecting } from '../sockets.mjs'
import { comes } from '../stories.mjs'

const host = '127.0.0.1'

export const drivers = {
  'mysql2, connection': {
    server: 'mariadb',
    option: 'stream',
    async open({ port, guard, onError }) {
      const connection = await mysql.createConnection({
        ...{ host, port, user: 'root' },
        ...connecting(guard, port),
      })
      connection.connection.on('error', onError)
      return { query: () => connection.query('select 1') }
    },
  },
  'mysql2, pool': {
    server: 'mariadb',
    option: 'stream',
    open({ port, guard }) {
      const pool = mysql.createPool({
        ...{ host, port, user: 'root', connectionLimit: 1 },
        ...connecting(guard, port),
      })
      return { query: () => pool.query('select 1') }
    },
  },
  'mariadb, connection': {
    server: 'mariadb',
    option: 'stream',
    async open({ port, guard, onError }) {
      const connection = await mariadb.createConnection({
        ...{ host, port, user: 'root' },
        ...connecting(guard, port),
      })
      connection.on('error', onError)
      return { query: () => connection.query('select 1') }
    },
  },
  'mariadb, pool': {
    server: 'mariadb',
    option: 'stream',
    open({ port, guard, onError }) {
      const pool = mariadb.createPool({
        ...{ host, port, user: 'root', connectionLimit: 1 },
        ...connecting(guard, port),
      })
      pool.on('error', onError)
      return { query: () => pool.query('select 1') }
    },
  },
  'mysql2, connection with callbacks, idle, no listener': {
    server: 'mariadb',
    expects: "'close'",
    uncaught: [
      'Error: ETIMEDOUT read ETIMEDOUT',
      'Error: PROTOCOL_CONNECTION_LOST Connection lost: The server closed the connection.',
    ],
    async story({ port, cut }) {
      const connection = mysqlCallbacks.createConnection({ host, port, user: 'root' })
      await new Promise((resolve) => connection.query('select 1', resolve))
      cut()
      return comes(connection.stream, 'close')
    },
  },
  'mysql2, connection, idle, no listener': {
    server: 'mariadb',
    expects: "'close'",
    async story({ port, cut }) {
      const connection = await mysql.createConnection({ host, port, user: 'root' })
      await connection.query('select 1')
      cut()
      return comes(connection.connection.stream, 'close')
    },
  },
  'mariadb, connection, idle, no listener': {
    server: 'mariadb',
    expects: "'end'",
    uncaught: 'Error: ETIMEDOUT read ETIMEDOUT',
    async story({ port, cut }) {
      const connection = await mariadb.createConnection({ host, port, user: 'root' })
      await connection.query('select 1')
      cut()
      return comes(connection, 'end')
    },
  },
}
