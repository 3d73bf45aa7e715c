import { once } from 'node:events'
import { connect } from 'node:net'
import { Client as Stomp } from '@stomp/stompjs'
import amqp from 'amqplib'
import { Kafka, logLevel } from 'kafkajs'
import mqtt from 'mqtt'
import { connect as connectNats } from 'nats'
import rhea from 'rhea'
import WebSocket from 'ws'

const host = '127.0.0.1'

let senders = 0

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
  rhea: {
    server: 'rabbitmq',
    option: 'connection_open event, connection.socket',
    async open({ port, guard, onError }) {
      const container = rhea.create_container()
      container.on('disconnected', ({ error }) => onError(error ?? 'disconnected'))
      if (guard) container.on('connection_open', ({ connection }) => guard(connection.socket))
      const connection = container.connect({ host, port, username: 'guest', password: 'guest' })
      const sender = connection.open_sender(`rhea${senders++}-${process.pid}`)
      let sendable = once(sender, 'sendable')
      // What is sent before the link is there again is lost.
      container.on('disconnected', () => {
        sendable = once(sender, 'sendable')
      })
      await sendable
      const send = () =>
        new Promise((resolve, reject) => {
          const delivery = sender.send({ body: 'x' })
          const settle = (settled, value) => {
            sender.off('accepted', onAccepted)
            container.off('disconnected', onDisconnected)
            settled(value)
          }
          const onAccepted = (context) => {
            if (context.delivery === delivery) settle(resolve)
          }
          const onDisconnected = ({ error }) => settle(reject, error)
          sender.on('accepted', onAccepted)
          container.on('disconnected', onDisconnected)
        })
      return { query: () => sendable.then(send) }
    },
  },
  'rhea, the unsettled message': {
    server: 'rabbitmq',
    async story({ port, cut }) {
      const container = rhea.create_container()
      container.on('disconnected', () => {})
      const connection = container.connect({ host, port, username: 'guest', password: 'guest' })
      const sender = connection.open_sender(`rhea${senders++}-${process.pid}`)
      await once(sender, 'sendable')
      cut()
      const delivery = sender.send({ body: 'x' })
      return new Promise((resolve) => {
        for (const outcome of ['accepted', 'released', 'rejected', 'settled']) {
          sender.on(outcome, (context) => {
            if (context.delivery === delivery) resolve(outcome)
          })
        }
      })
    },
    expects: 'stuck',
  },
  '@stomp/stompjs': {
    server: 'rabbitmq',
    option: 'webSocketFactory, upgrade event',
    async open({ ports, guard, onError }) {
      const client = new Stomp({
        webSocketFactory() {
          const socket = new WebSocket(`ws://${host}:${ports.webStomp}/ws`, ['v12.stomp'])
          if (guard) socket.on('upgrade', (response) => guard(response.socket))
          return socket
        },
        ...{ connectHeaders: { login: 'guest', passcode: 'guest' }, reconnectDelay: 200 },
      })
      const closed = new EventTarget()
      client.onWebSocketError = ({ message }) => onError(`onWebSocketError ${message}`)
      client.onWebSocketClose = ({ code }) => {
        onError(`onWebSocketClose ${code}`)
        closed.dispatchEvent(new Event('close'))
      }
      const connected = new Promise((resolve) => {
        client.onConnect = resolve
      })
      client.activate()
      await connected
      let receipts = 0
      return {
        query: () =>
          new Promise((resolve, reject) => {
            const onClose = () => reject(new Error('onWebSocketClose'))
            closed.addEventListener('close', onClose, { once: true })
            const receipt = `receipt-${receipts++}`
            client.watchForReceipt(receipt, () => {
              closed.removeEventListener('close', onClose)
              resolve()
            })
            client.publish({ destination: '/topic/test', body: 'x', headers: { receipt } })
          }),
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
