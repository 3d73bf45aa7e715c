import http from 'node:http'
import https from 'node:https'
import grpc from '@grpc/grpc-js'
import * as undici from 'undici'
import { psk } from '../local-servers.mjs'

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

export const drivers = {
  'undici, Agent': {
    server: 'http',
    option: 'connect',
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
    option: 'connect',
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
    option: 'connect',
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
  'http.Agent': { server: 'http', option: 'the agent', open: agentClient(http, {}) },
  'https.Agent': {
    server: 'https',
    option: 'the agent',
    open: agentClient(https, {
      ciphers: 'PSK',
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk, identity: 'test' }),
    }),
  },
}
