import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { GetObjectCommand } from '@aws-sdk/client-s3'
import axios from 'axios'
import got from 'got'
import nodeFetch from 'node-fetch'
import * as undici from 'undici'
import { s3 } from './http-clients.mjs'

const host = '127.0.0.1'

/** Node's global agent probes an idle connection each second: alone, it would notice after 11 s. */
const agent = new http.Agent()

/** An answer without an end, read slowly, and cut off in the middle. */
const body = (open, server = 'http') => ({
  server,
  async story({ port, cut }) {
    const stream = await open(`http://${host}:${port}/endless`, port)
    let pieces = 0
    for await (const _ of stream) {
      pieces++
      if (pieces < 20) await sleep(20)
      else if (pieces === 20) cut()
    }
    return 'ends as if complete'
  },
  expects: 'rejects',
})

const get = (listener) =>
  body(async (url) => {
    const request = http.get(url, { agent })
    const [response] = await once(request, 'response')
    if (listener) request.on('error', listener)
    return response
  })

export const drivers = {
  'http.get, the body': get(() => {}),
  "http.get, likewise, no 'error' listener of the request": {
    ...get(),
    uncaught: 'Error: ETIMEDOUT read ETIMEDOUT',
  },
  "fetch, Node's own, the body": body(async (url) => (await fetch(url)).body),
  'undici, request, the body': body(async (url) => {
    const dispatcher = new undici.Agent()
    return (await undici.request(url, { dispatcher })).body
  }),
  'axios, responseType stream': body(
    async (url) => (await axios.get(url, { responseType: 'stream', httpAgent: agent })).data,
  ),
  'got, stream': body((url) => got.stream(url, { agent: { http: agent } })),
  'node-fetch, the body': body(async (url) => (await nodeFetch(url, { agent })).body),
  '@aws-sdk/client-s3, Body': body(async (_, port) => {
    const get = new GetObjectCommand({ Bucket: 'bucket', Key: 'endless' })
    return (await s3({ port }, { requestHandler: { httpAgent: agent } }).send(get)).Body
  }, 's3'),
}
