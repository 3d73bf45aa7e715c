import { once } from 'node:events'
import { connect } from 'node:net'
import mssql from 'mssql'
import { Connection, Request } from 'tedious'

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

export const drivers = {
  tedious: {
    server: 'sqlServer',
    option: 'options.connector',
    async open({ port, guard, onError }) {
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
      return {
        query: () =>
          new Promise((resolve, reject) => {
            const request = new Request('select 1', (error) => (error ? reject(error) : resolve()))
            connection.execSqlBatch(request)
          }),
      }
    },
  },
  mssql: {
    server: 'sqlServer',
    option: 'options.connector',
    async open({ port, guard, onError }) {
      const pool = new mssql.ConnectionPool({
        ...{ server: host, port, user: 'test', password: 'test', requestTimeout: 0 },
        pool: { max: 1, min: 1, idleTimeoutMillis: 600_000 },
        options: { encrypt: false, ...connector(guard, port) },
      })
      pool.on('error', onError)
      await pool.connect()
      return { query: () => pool.query('select 1') }
    },
  },
}
