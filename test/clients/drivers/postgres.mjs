import { Socket } from 'node:net'
import pg from 'pg'

const host = '127.0.0.1'

export const drivers = {
  'pg, Client': {
    server: 'postgres',
    option: 'stream',
    async open({ port, guard, onError }) {
      const stream = () => {
        const socket = new Socket()
        guard(socket)
        return socket
      }
      const client = new pg.Client({
        host,
        port,
        user: 'test',
        database: 'postgres',
        ...(guard && { stream }),
      })
      client.on('error', onError)
      await client.connect()
      return { query: () => client.query('select 1') }
    },
  },
  'pg, Pool': {
    server: 'postgres',
    option: 'stream',
    open({ port, guard, onError }) {
      const stream = () => {
        const socket = new Socket()
        guard(socket)
        return socket
      }
      const pool = new pg.Pool({
        ...{ host, port, user: 'test', database: 'postgres', max: 1, idleTimeoutMillis: 0 },
        ...(guard && { stream }),
      })
      pool.on('error', onError)
      return { query: () => pool.query('select 1') }
    },
  },
}
