import mariadb from 'mariadb'
import mysql from 'mysql2/promise'
import { connecting } from '../sockets.mjs'

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
}
