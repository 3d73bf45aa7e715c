import { once } from 'node:events'
import { connect } from 'node:net'
import amqp from 'amqplib'
import { Kafka, logLevel } from 'kafkajs'
import mqtt from 'mqtt'
import { connect as connectNats } from 'nats'

const host = '127.0.0.1'

export const drivers = {
  nats: {
    server: 'nats',
    async open({ port, onError }) {
      const connection = await connectNats({ servers: `${host}:${port}`, reconnectTimeWait: 200 })
      void (async () => {
        for await (const { type } of connection.status()) onError(type)
      })()
      return { query: () => connection.flush() }
    },
  },
  amqplib: {
    server: 'rabbitmq',
    option: 'connection.connection.stream',
    async open({ port, guard, onError }) {
      const connection = await amqp.connect(`amqp://guest:guest@${host}:${port}`)
      guard?.(connection.connection.stream)
      connection.on('error', onError)
      const channel = await connection.createConfirmChannel()
      channel.on('error', onError)
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
    option: 'connect event, client.stream',
    async open({ port, guard, onError }) {
      const client = mqtt.connect({ host, port, reconnectPeriod: 200 })
      client.on('error', onError)
      if (guard) client.on('connect', () => guard(client.stream))
      await once(client, 'connect')
      return { query: () => client.publishAsync('topic', 'x', { qos: 1 }) }
    },
  },
  kafkajs: {
    server: 'acceptor',
    optionsOnly: true,
    option: 'socketFactory',
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
