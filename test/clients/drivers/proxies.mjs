import { AsyncResource } from 'node:async_hooks'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import httpProxy from 'http-proxy'
import { HttpProxyAgent } from 'http-proxy-agent'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { SocksProxyAgent } from 'socks-proxy-agent'
import { listening, localServers, psk } from '../local-servers.mjs'

const host = '127.0.0.1'

/** What a browser does is not what the test cuts. */
const outside = new AsyncResource('outside')

const get = (url, options) =>
  new Promise((resolve, reject) => {
    const { get } = url.startsWith('https:') ? https : http
    const request = get(url, options, (response) => {
      response.on('error', reject).on('end', () => resolve(response.statusCode))
      response.resume()
    })
    request.on('error', reject)
  })

/** A reverse proxy, and a client of its own. */
async function reverseProxy(options, onError) {
  const proxy = httpProxy.createProxyServer(options)
  if (onError) proxy.on('error', onError)
  return listening(http.createServer((request, response) => proxy.web(request, response)))
}

/** A client that reads an answer without an end through the proxy, and what it sees when the proxy's server dies. */
const midAnswer = (onProxyError, expects) => ({
  server: 'http',
  async story({ port, cut }) {
    const proxy = await reverseProxy({ target: `http://${host}:${port}` }, onProxyError)
    const response = await outside.runInAsyncScope(
      () =>
        new Promise((resolve, reject) => {
          http.get({ host, port: proxy, path: '/endless' }, resolve).on('error', reject)
        }),
    )
    response.resume()
    await once(response, 'data')
    cut()
    const [error] = await once(response, 'error')
    return `the client sees ${error.code}`
  },
  expects,
})

/** Started by the first that asks: run.mjs imports this file, too, and must come to its end. */
const origins = {}

/** A request through an agent that opens its connections through a proxy. */
const through = (protocol, server, makeAgent, more) => ({
  server,
  option: 'the agent',
  async open({ port, guard }) {
    const agent = makeAgent(port)
    guard?.(agent)
    origins[protocol] ??= localServers[protocol]()
    // As a URL: with `{ host, port }` agent-base does not find the connection again that it has kept.
    const url = `${protocol}://${host}:${await origins[protocol]}`
    return { query: () => get(url, { agent, ...more }) }
  },
})

const tls = {
  ciphers: 'PSK',
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ psk, identity: 'test' }),
}

export const drivers = {
  'http-proxy': {
    server: 'http',
    option: 'agent',
    async open({ port, guard, onError }) {
      const agent = new http.Agent({ keepAlive: true })
      guard?.(agent)
      const options = { target: `http://${host}:${port}`, agent }
      const proxy = await reverseProxy(options, (error, _, response) => {
        onError(error)
        response.writeHead(502).end()
      })
      return {
        async query() {
          const status = await outside.runInAsyncScope(() => get(`http://${host}:${proxy}`))
          if (status !== 200) throw new Error(`the client gets ${status}`)
        },
      }
    },
  },
  'http-proxy, in the middle of an answer': midAnswer(() => {}, 'stuck'),
  'http-proxy, likewise, response.destroy()': midAnswer(
    (_error, _request, response) => response.destroy(),
    'the client sees ECONNRESET',
  ),
  "http-proxy, likewise, no 'error' listener": {
    ...midAnswer(undefined, 'stuck'),
    uncaught: 'Error: ETIMEDOUT read ETIMEDOUT',
  },
  'http-proxy-agent': through(
    'http',
    'forwardProxy',
    (port) => new HttpProxyAgent(`http://${host}:${port}`, { keepAlive: true }),
  ),
  'https-proxy-agent': through(
    'https',
    'tinyproxy',
    (port) => new HttpsProxyAgent(`http://${host}:${port}`, { keepAlive: true }),
    tls,
  ),
  'socks-proxy-agent': through(
    'http',
    'microsocks',
    (port) => new SocksProxyAgent(`socks5h://${host}:${port}`, { keepAlive: true }),
  ),
  'socks-proxy-agent, https': through(
    'https',
    'microsocks',
    (port) => new SocksProxyAgent(`socks5h://${host}:${port}`, { keepAlive: true }),
    tls,
  ),
}
