import 'reflect-metadata'
import { PrismaPg } from '@prisma/adapter-pg'
import { Sequelize } from 'sequelize'
import { DataSource } from 'typeorm'
import { PrismaClient } from '../prisma-client.mjs'
import { connecting, unconnected } from '../sockets.mjs'

const host = '127.0.0.1'

function sequelize(options) {
  const db = new Sequelize({
    ...{ host, logging: false, pool: { max: 1, min: 1, idle: 600_000 } },
    ...options,
  })
  return { query: () => db.query('select 1') }
}

export const drivers = {
  'typeorm on pg': {
    server: 'postgres',
    option: 'extra.stream',
    async open({ port, guard, onError }) {
      const db = new DataSource({
        ...{ type: 'postgres', host, port, username: 'test', database: 'postgres' },
        ...{ poolSize: 1, poolErrorHandler: onError },
        extra: { idleTimeoutMillis: 0, ...unconnected(guard) },
      })
      await db.initialize()
      return { query: () => db.query('select 1') }
    },
  },
  'typeorm on mysql2': {
    server: 'mariadb',
    option: 'extra.stream',
    async open({ port, guard }) {
      const db = new DataSource({
        ...{ type: 'mysql', host, port, username: 'root', poolSize: 1, logging: false },
        extra: { ...connecting(guard, port) },
      })
      await db.initialize()
      return { query: () => db.query('select 1') }
    },
  },
  'sequelize on pg': {
    server: 'postgres',
    option: 'dialectOptions.stream',
    open: ({ port, guard }) =>
      sequelize({
        ...{ dialect: 'postgres', port, username: 'test', database: 'postgres' },
        dialectOptions: { ...unconnected(guard) },
      }),
  },
  'sequelize on mysql2': {
    server: 'mariadb',
    option: 'dialectOptions.stream',
    open: ({ port, guard }) =>
      sequelize({
        ...{ dialect: 'mysql', port, username: 'root' },
        dialectOptions: { ...connecting(guard, port) },
      }),
  },
  'Prisma, @prisma/adapter-pg': {
    server: 'postgres',
    option: "pg's",
    open({ port, guard, onError }) {
      const adapter = new PrismaPg(
        {
          ...{ host, port, user: 'test', database: 'postgres', max: 1, idleTimeoutMillis: 0 },
          ...unconnected(guard),
        },
        { onPoolError: onError, onConnectionError: onError },
      )
      const prisma = new PrismaClient({ adapter })
      return { query: () => prisma.$queryRaw`select 1` }
    },
  },
}
