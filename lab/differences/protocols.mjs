// How a program opens each protocol, and every event of it that a program can see.
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { createRequire } from 'node:module'
import net from 'node:net'
import tls from 'node:tls'
import WebSocket, { createWebSocketStream } from 'ws'
import { readBody, readMessages, readStream } from './readers.mjs'

const host = process.env.PEER_HOST

/**
 * Begins a cell. `ready` resolves when the program knows of its connection (http: of the answer),
 * `ended` when nothing more is to be expected; `write` writes a little.
 */
export function open(observer) {
  return PROTOCOLS[observer.cell.protocol](observer)
}

const PROTOCOLS = {
  async net(observer) {
    const { cell, log } = observer
    const options = { host, port: await observer.port(), allowHalfOpen: cell.halfOpen }
    const socket = cell.tls ? tls.connect(options) : net.connect(options)
    const closed = events(socket, log, '', ['end', 'error', 'close'])
    // A reset by close wants something that the peer has not read.
    if (cell.comes === 'RST by close') socket.write(Buffer.alloc(1000))
    const read = readStream(socket, observer)
    const ready = once(socket, cell.tls ? 'secureConnect' : 'connect')
    return { ready, ended: Promise.all([closed, read]), write: writer(socket, observer) }
  },

  async http(observer) {
    const { cell, log } = observer
    const options = { host, port: await observer.port(), method: 'POST', agent: false }
    const request = (cell.tls ? https : http).request(options)
    const closed = events(request, log, 'request', ['error', 'close'])
    const ready = once(request, 'response')
    const read = ready.then(
      async ([response]) => {
        log('response', response.statusCode)
        const over = events(response, log, 'response', ['aborted', 'end', 'error', 'close'])
        await readStream(response, observer)
        await over
        log('response is', response.complete ? 'complete' : 'incomplete')
      },
      () => {},
    )
    request.write(Buffer.alloc(1000))
    return { ready, ended: Promise.all([closed, read]), write: writer(request, observer) }
  },

  async 'http server'(observer) {
    const { log } = observer
    const server = http.createServer()
    server.listen(0, process.env.SUBJECT_HOST)
    await once(server, 'listening')
    server.on('clientError', (error, socket) => {
      log('clientError', error.code, error.message)
      socket.destroy()
    })
    const closed = once(server, 'connection').then(([socket]) =>
      events(socket, log, 'socket', ['close']),
    )
    const asked = once(server, 'request')
    observer.port(server.address().port)
    const [request, response] = await asked
    const overs = [
      events(request, log, 'request', ['aborted', 'end', 'error', 'close']),
      events(response, log, 'response', ['error', 'close']),
    ]
    const read = readStream(request, observer)
    return {
      ready: asked,
      ended: Promise.all([closed, read, ...overs]),
      write: writer(response, observer),
    }
  },

  async http2(observer) {
    const { cell, log } = observer
    const port = await observer.port()
    const session = http2.connect(`${cell.tls ? 'https' : 'http'}://${host}:${port}`, {
      settings: { initialWindowSize: 1 << 20 },
    })
    const closed = events(session, log, 'session', ['goaway', 'error', 'close'])
    // All of it is on its way before something comes.
    session.once('connect', () => session.setLocalWindowSize(1 << 20))
    const stream = session.request({ ':method': 'POST' }, { endStream: false })
    const over = events(stream, log, 'stream', ['response', 'aborted', 'end', 'error', 'close'])
    const ready = once(stream, 'response')
    const read = readStream(stream, observer)
    return { ready, ended: Promise.all([closed, over, read]), write: writer(stream, observer) }
  },

  fetch: (observer) => fetchWith(fetch, observer),

  undici(observer) {
    const from = createRequire(`${process.env[`UNDICI_${observer.cell.major}`]}/`)
    return fetchWith(from('undici').fetch, observer)
  },

  async ws(observer) {
    const { cell, log, took } = observer
    const url = `${cell.tls ? 'wss' : 'ws'}://${host}:${await observer.port()}`
    const socket = new WebSocket(url, { perMessageDeflate: false })
    const closed = events(socket, log, '', ['error', 'close'])
    const ready = once(socket, 'open')
    const write = () => socket.send('x', written(observer))
    if (!cell.reader.startsWith('stuck')) {
      readMessages(socket, observer)
      return { ready, ended: closed, write }
    }
    const stream = createWebSocketStream(socket)
    // Such a stream ends, and does not close.
    events(stream, log, 'stream', ['end', 'error', 'close'])
    return { ready, ended: Promise.all([closed, readStream(stream, { cell, log, took })]), write }
  },
}

async function fetchWith(fetch, observer) {
  const { cell, log } = observer
  const url = `${cell.tls ? 'https' : 'http'}://${host}:${await observer.port()}/`
  const unread = cell.comes === 'RST by close'
  const fetched = fetch(url, unread ? { method: 'POST', body: Buffer.alloc(1000) } : {})
  const ended = fetched.then(
    async (response) => {
      log('response', response.status)
      await readBody(response.body, observer)
      // Without a reader there is no end to see.
      if (cell.reader === 'never') await new Promise(() => {})
    },
    (error) => log('fetch threw', error.message, error.cause?.code, error.cause?.message),
  )
  return { ready: fetched, ended }
}

/** Logs these events; resolves at 'close'. */
function events(emitter, log, whose, names) {
  for (const name of names) {
    emitter.on(name, (...args) => log(whose, name, ...args.map(said)))
  }
  return new Promise((resolve) => {
    emitter.on('close', resolve)
  })
}

function said(argument) {
  if (argument instanceof Error) {
    const { code, syscall, message } = argument
    return [code, syscall, message].filter(Boolean).join(' ')
  }
  return ['number', 'boolean'].includes(typeof argument) ? argument : ''
}

function writer(stream, observer) {
  return () => stream.write('x', written(observer))
}

function written({ wrote }) {
  return (error) => (error ? wrote('write failed:', said(error)) : wrote('written'))
}
