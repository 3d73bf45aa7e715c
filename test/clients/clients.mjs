/**
 * The drivers: how each is opened, what its smallest query is, and its own door to the
 * socket, where it has one. `guard` sets a socket (or an agent) through that door; without
 * it the driver is left alone. `told` takes what the driver emits as errors.
 */
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { connect, Socket } from 'node:net'
import grpc from '@grpc/grpc-js'
import amqp from 'amqplib'
import { Redis } from 'ioredis'
import { Kafka, logLevel } from 'kafkajs'
import { MongoClient } from 'mongodb'
import mqtt from 'mqtt'
import mysql from 'mysql2/promise'
import { connect as connectNats } from 'nats'
import pg from 'pg'
import { createClient } from 'redis'
import * as undici from 'undici'
import WebSocket from 'ws'

const host = '127.0.0.1'

/** What undici's `connect` option takes. */
function guardedConnector(guard) {
  if (guard === undefined) return undefined
  const connector = undici.buildConnector({})
  return (options, callback) =>
    connector(options, (error, socket) => {
      if (socket) guard(socket)
      callback(error, socket)
    })
}

const read = async (response) => {
  const text = await response.text()
  if (text !== 'here') throw new Error(`got ${text}`)
}

function agentClient(module, options) {
  return ({ port, guard }) => {
    const agent = new module.Agent({ keepAlive: true, ...options })
    guard?.(agent)
    return {
      query: () =>
        new Promise((resolve, reject) => {
          const request = module.get({ host, port, agent }, (response) => {
            response.on('error', reject).on('end', resolve).resume()
          })
          request.on('error', reject)
        }),
    }
  }
}

export const psk = Buffer.alloc(16, 7)

export const clients = {
  'pg, Client': {
    server: 'postgres',
    door: 'stream',
    async open({ port, guard, told }) {
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
      client.on('error', told)
      await client.connect()
      return { query: () => client.query('select 1') }
    },
  },
  'pg, Pool': {
    server: 'postgres',
    door: 'stream',
    open({ port, guard, told }) {
      const stream = () => {
        const socket = new Socket()
        guard(socket)
        return socket
      }
      const pool = new pg.Pool({
        ...{ host, port, user: 'test', database: 'postgres', max: 1, idleTimeoutMillis: 0 },
        ...(guard && { stream }),
      })
      pool.on('error', told)
      return { query: () => pool.query('select 1') }
    },
  },
  'mysql2, connection': {
    server: 'mariadb',
    door: 'stream',
    async open({ port, guard, told }) {
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
      connection.connection.on('error', told)
      return { query: () => connection.query('select 1') }
    },
  },
  'mysql2, pool': {
    server: 'mariadb',
    door: 'stream',
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
  ioredis: {
    server: 'redis',
    door: 'connect event, redis.stream',
    async open({ port, guard, told }) {
      const client = new Redis({ host, port })
      client.on('error', told)
      if (guard) client.on('connect', () => guard(client.stream))
      await once(client, 'ready')
      return { query: () => client.ping() }
    },
  },
  redis: {
    server: 'redis',
    async open({ port, told }) {
      const client = createClient({ socket: { host, port } })
      client.on('error', told)
      await client.connect()
      return { query: () => client.ping() }
    },
  },
  nats: {
    server: 'nats',
    async open({ port, told }) {
      const connection = await connectNats({ servers: `${host}:${port}`, reconnectTimeWait: 200 })
      void (async () => {
        for await (const { type } of connection.status()) told(type)
      })()
      return { query: () => connection.flush() }
    },
  },
  amqplib: {
    server: 'rabbitmq',
    door: 'connection.connection.stream',
    async open({ port, guard, told }) {
      const connection = await amqp.connect(`amqp://guest:guest@${host}:${port}`)
      guard?.(connection.connection.stream)
      connection.on('error', told)
      const channel = await connection.createConfirmChannel()
      channel.on('error', told)
      const { queue } = await channel.assertQueue('', { exclusive: true })
      return {
        query() {
          channel.sendToQueue(queue, Buffer.from('x'))
          return channel.waitForConfirms()
        },
      }
    },
  },
  mqtt: {
    server: 'mosquitto',
    door: 'connect event, client.stream',
    async open({ port, guard, told }) {
      const client = mqtt.connect({ host, port, reconnectPeriod: 200 })
      client.on('error', told)
      if (guard) client.on('connect', () => guard(client.stream))
      await once(client, 'connect')
      return { query: () => client.publishAsync('topic', 'x', { qos: 1 }) }
    },
  },
  ws: {
    server: 'ws',
    door: 'upgrade event, response.socket',
    async open({ port, guard, told }) {
      const client = new WebSocket(`ws://${host}:${port}`)
      if (guard) client.on('upgrade', (response) => guard(response.socket))
      client.on('error', told).on('close', (code) => told(`close ${code}`))
      await once(client, 'open')
      return {
        query: () =>
          new Promise((resolve, reject) => {
            const settle = (error) => {
              client.off('message', onMessage).off('close', onClose)
              if (error) reject(error)
              else resolve()
            }
            const onMessage = () => settle()
            // ws keeps the socket's error for itself.
            const onClose = (code) => settle(new Error(`'close', code ${code}`))
            client.on('message', onMessage).on('close', onClose)
            client.send('x', (error) => error && settle(error))
          }),
      }
    },
  },
  'undici, Agent': {
    server: 'http',
    door: 'connect',
    open({ port, guard }) {
      const dispatcher = new undici.Agent({ connect: guardedConnector(guard) })
      return {
        query: () =>
          undici.request(`http://${host}:${port}`, { dispatcher }).then(({ body }) => read(body)),
      }
    },
  },
  'undici, Pool': {
    server: 'http',
    door: 'connect',
    open({ port, guard }) {
      const pool = new undici.Pool(`http://${host}:${port}`, {
        connections: 1,
        connect: guardedConnector(guard),
      })
      return {
        query: () => pool.request({ path: '/', method: 'GET' }).then(({ body }) => read(body)),
      }
    },
  },
  'undici, fetch': {
    server: 'http',
    door: 'connect',
    open({ port, guard }) {
      const dispatcher = new undici.Agent({ connect: guardedConnector(guard) })
      return { query: () => undici.fetch(`http://${host}:${port}`, { dispatcher }).then(read) }
    },
  },
  "fetch, Node's own": {
    server: 'http',
    open: ({ port }) => ({ query: () => fetch(`http://${host}:${port}`).then(read) }),
  },
  '@grpc/grpc-js': {
    server: 'grpc',
    open({ port }) {
      const plain = (value) => value
      const Client = grpc.makeGenericClientConstructor({
        echo: {
          path: '/test/echo',
          requestStream: false,
          responseStream: false,
          requestSerialize: plain,
          requestDeserialize: plain,
          responseSerialize: plain,
          responseDeserialize: plain,
        },
      })
      const client = new Client(`${host}:${port}`, grpc.credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      })
      return {
        query: () =>
          new Promise((resolve, reject) => {
            client.echo(Buffer.from('x'), (error) => (error ? reject(error) : resolve()))
          }),
      }
    },
  },
  'http.Agent': { server: 'http', door: 'the agent', open: agentClient(http, {}) },
  'https.Agent': {
    server: 'https',
    door: 'the agent',
    open: agentClient(https, {
      ciphers: 'PSK',
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk, identity: 'test' }),
    }),
  },
  mongodb: {
    server: 'acceptor',
    optionsOnly: true,
    open({ port }) {
      const client = new MongoClient(`mongodb://${host}:${port}`, {
        serverSelectionTimeoutMS: 3000,
      })
      client.connect().catch(() => {})
      return {}
    },
  },
  kafkajs: {
    server: 'acceptor',
    optionsOnly: true,
    door: 'socketFactory',
    open({ port, guard }) {
      const socketFactory = ({ host, port, onConnect }) => {
        const socket = connect(port, host, onConnect)
        guard(socket)
        return socket
      }
      const kafka = new Kafka({
        ...{ clientId: 'test', brokers: [`${host}:${port}`], logLevel: logLevel.NOTHING },
        ...(guard && { socketFactory }),
      })
      kafka
        .admin()
        .connect()
        .catch(() => {})
      return {}
    },
  },
}
