/**
 * A consumer that takes what an HTTP message or an HTTP/2 stream has buffered, more slowly than the
 * dead-peer time: the sweep ends the connection only after it has taken everything, as with Node alone.
 */
import { support } from 'tcp-keepalive'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'

const MS = 2500

/** Sends 96 KB to the consumer, which has all of it in Node's buffers before its peer goes silent. */
const BEGIN = `
const http = require('node:http')
const http2 = require('node:http2')
const { setDeadPeerTimeout } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')
const data = Buffer.alloc(96_000, 'x')
const isSet = process.env.SET === 'yes'
const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)))
/** An http2 client that sends the data, once it knows how much the server's window takes. */
function upload(port) {
  const session = http2.connect('http://127.0.0.1:' + port)
  session.on('error', () => {}).once('remoteSettings', () => {
    const stream = session.request({ ':path': '/', ':method': 'POST' })
    stream.on('error', () => {}).resume().write(data)
  })
}
/** Takes a piece every 300 ms; ends with the number of bytes, and the error's name if there is one. */
function consume(readable, socket, write, size = 8192) {
  let bytes = 0
  let quiet = 0
  const answer = (error) => {
    console.log(JSON.stringify({ bytes, size, error: error?.code ?? 'none' }))
    process.exit()
  }
  readable.on('error', answer)
  // What is closed without an error still gives what it has.
  readable.on('close', () => setTimeout(() => {
    bytes += readable.read()?.length ?? 0
    answer({ code: 'closed' })
  }, 50))
  setTimeout(() => {
    if (isSet) setDeadPeerTimeout(socket, ${MS})
    unplug(socket)
    write()
    setInterval(() => {
      const piece = readable.read(size) ?? readable.read()
      bytes += piece?.length ?? 0
      quiet = piece ? 0 : quiet + 1
      // Alone, Node waits for a quarter of an hour.
      if (!isSet && quiet === 5) answer()
    }, 300)
  }, 500)
}
`

const CONSUMERS: Record<string, string> = {
  'an http client': `
    const server = http.createServer((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-length': 1e6 })
      response.write(data)
    })
    listen(server).then((port) => {
      const request = http.request({ port, host: '127.0.0.1', method: 'POST' }, (response) =>
        consume(response, request.socket, () => request.write('y')))
      request.on('error', () => {}).write('x')
    })`,
  'an http server': `
    const server = http.createServer((request, response) => {
      response.write('x')
      consume(request, request.socket, () => response.write('y'))
    })
    listen(server).then((port) => {
      const request = http.request({ port, host: '127.0.0.1', method: 'POST', headers: { 'content-length': 1e6 } })
      request.on('error', () => {}).on('response', (response) => response.resume().on('error', () => {}))
      request.write(data)
    })`,
  'an http2 client': `
    const server = http2.createServer((request, response) => response.write(data))
    listen(server).then((port) => {
      const session = http2.connect('http://127.0.0.1:' + port, { settings: { initialWindowSize: 1e6 } })
      const stream = session.request({ ':path': '/', ':method': 'POST' })
      session.on('error', () => {}).on('connect', (_, socket) => {
        stream.on('response', () => consume(stream, socket, () => stream.write('y')))
      })
    })`,
  'an http server, whose next request is there already': `
    let answered
    const server = http.createServer((request, response) => {
      if (answered) return
      answered = response
      response.write('x')
      consume(request, request.socket, () => response.write('y'), 4096)
    })
    listen(server).then((port) => {
      const { connect } = require('node:net')
      const socket = connect(port, '127.0.0.1').on('error', () => {}).resume()
      socket.write('POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 60000\\r\\n\\r\\n')
      socket.write(data.subarray(0, 60_000))
      socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    })`,
  'an http2 server, by the compatibility API': `
    let socket
    const server = http2.createServer({ settings: { initialWindowSize: 1e6 } }, (request, response) => {
      response.write('x')
      consume(request, socket, () => response.write('y'))
    })
    server.on('sessionError', () => {}).on('connection', (accepted) => { socket = accepted })
    listen(server).then(upload)`,
  'an http2 server': `
    const server = http2.createServer({ settings: { initialWindowSize: 1e6 } })
    server.on('sessionError', () => {})
    let socket
    server.on('connection', (accepted) => { socket = accepted })
    server.on('stream', (stream) => {
      stream.respond()
      stream.write('x')
      consume(stream, socket, () => stream.write('y'))
    })
    listen(server).then(upload)`,
}

describe.concurrent('what Node has read for a consumer is not lost', () => {
  test.skipIf(support.getTcpInfo !== true).each(Object.keys(CONSUMERS))('%s', async (name) => {
    const outcome = (set: string) =>
      answerOf<{ bytes: number; size: number; error: string }>(BEGIN + CONSUMERS[name], {
        env: { SET: set },
      })
    const [alone, set] = await Promise.all([outcome('no'), outcome('yes')])
    expect(alone.error).toMatch(/none|closed/)
    // More than a consumer at this pace takes in the dead-peer time.
    expect(alone.bytes).toBeGreaterThan(alone.size * 1.2 * (MS / 300))
    expect(set.bytes).toBe(alone.bytes)
    expect(set.error).toMatch(/ETIMEDOUT|ECONNRESET|closed/)
  })
})
