import http from 'node:http'
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Client as Elasticsearch } from '@elastic/elasticsearch'
import axios from 'axios'
import got from 'got'
import fetch from 'node-fetch'
import * as undici from 'undici'

process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'

const host = '127.0.0.1'

function agentFor(guard) {
  const agent = new http.Agent({ keepAlive: true })
  guard?.(agent)
  return agent
}

const read = (text) => {
  if (text !== 'here') throw new Error(`got ${text}`)
}

/** got sends a GET again after 1 s; with `limit: 0` it does not. */
const gotWith = (retry) => ({
  server: 'http',
  pause: retry ? 0 : 1100,
  option: 'agent',
  open({ port, guard }) {
    const client = got.extend({ agent: { http: agentFor(guard) }, ...(retry && { retry }) })
    return { query: async () => read(await client(`http://${host}:${port}/`).text()) }
  },
})

export const s3 = ({ port, guard }, options) =>
  new S3Client({
    ...{ endpoint: `http://${host}:${port}`, region: 'x', forcePathStyle: true },
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    ...(guard && { requestHandler: { httpAgent: agentFor(guard) } }),
    ...options,
  })

const s3With = (options) => ({
  server: 's3',
  option: 'requestHandler',
  open(given) {
    const client = s3(given, options)
    const get = new GetObjectCommand({ Bucket: 'bucket', Key: 'key' })
    return {
      query: async () => read(await (await client.send(get)).Body.transformToString()),
    }
  },
})

/** It sends again after one or two seconds. */
const elasticsearchWith = (options) => ({
  pause: options ? 0 : 2000,
  server: 'elasticsearch',
  option: 'agent, connect',
  open({ port, guard }) {
    const connector = undici.buildConnector({})
    const connect = (options, callback) =>
      connector(options, (error, socket) => {
        if (socket) guard(socket)
        callback(error, socket)
      })
    const client = new Elasticsearch({
      node: `http://${host}:${port}`,
      ...(guard && { agent: { connect } }),
      ...options,
    })
    return { query: () => client.get({ index: 'index', id: '1' }) }
  },
})

export const drivers = {
  axios: {
    server: 'http',
    option: 'httpAgent',
    open({ port, guard }) {
      const client = axios.create({ httpAgent: agentFor(guard) })
      return { query: async () => read((await client.get(`http://${host}:${port}/`)).data) }
    },
  },
  got: gotWith(),
  'got, retry limit 0': gotWith({ limit: 0 }),
  'node-fetch': {
    server: 'http',
    option: 'agent',
    open({ port, guard }) {
      const agent = agentFor(guard)
      return {
        query: async () => read(await (await fetch(`http://${host}:${port}/`, { agent })).text()),
      }
    },
  },
  '@aws-sdk/client-s3': s3With(),
  '@aws-sdk/client-s3, maxAttempts: 1': s3With({ maxAttempts: 1 }),
  /** Each attempt takes the time anew. */
  '@aws-sdk/client-s3, maxAttempts: 2, the server stays silent': {
    server: 's3',
    async story({ cut, ...given }) {
      const client = s3(given, { maxAttempts: 2 })
      const get = new GetObjectCommand({ Bucket: 'bucket', Key: 'key' })
      read(await (await client.send(get)).Body.transformToString())
      cut({ forGood: true })
      await client.send(get)
      return 'an answer'
    },
    expects: 'rejects',
  },
  '@elastic/elasticsearch': elasticsearchWith(),
  '@elastic/elasticsearch, maxRetries: 0': elasticsearchWith({ maxRetries: 0 }),
}
