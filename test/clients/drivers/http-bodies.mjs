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

export const drivers = {
  'http.get, the body': body(async (url) => {
    const [response] = await once(http.get(url), 'response')
    return response
  }),
  "fetch, Node's own, the body": body(async (url) => (await fetch(url)).body),
  'undici, request, the body': body(async (url) => {
    const dispatcher = new undici.Agent()
    return (await undici.request(url, { dispatcher })).body
  }),
  'axios, responseType stream': body(
    async (url) => (await axios.get(url, { responseType: 'stream' })).data,
  ),
  'got, stream': body((url) => got.stream(url)),
  'node-fetch, the body': body(async (url) => (await nodeFetch(url)).body),
  '@aws-sdk/client-s3, Body': body(async (_, port) => {
    const get = new GetObjectCommand({ Bucket: 'bucket', Key: 'endless' })
    return (await s3({ port }).send(get)).Body
  }, 's3'),
}
