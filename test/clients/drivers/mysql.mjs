import { connect } from 'node:net'
import mysql from 'mysql2/promise'

const host = '127.0.0.1'

export const drivers = {
  'mysql2, connection': {
    server: 'mariadb',
    option: 'stream',
    async open({ port, guard, onError }) {
      const stream = () => {
        const socket = connect(port, host)
        guard(socket)
        return socket
      }
      const connection = await mysql.createConnection({
        host,
        port,
        user: 'root',
        ...(guard && { stream }),
      })
      connection.connection.on('error', onError)
      return { query: () => connection.query('select 1') }
    },
  },
  'mysql2, pool': {
    server: 'mariadb',
    option: 'stream',
    open({ port, guard }) {
      const stream = () => {
        const socket = connect(port, host)
        guard(socket)
        return socket
      }
      const pool = mysql.createPool({
        host,
        port,
        user: 'root',
        connectionLimit: 1,
        ...(guard && { stream }),
      })
      return { query: () => pool.query('select 1') }
    },
  },
}
