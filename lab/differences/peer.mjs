// The other end of a batch of cells, in a process of its own without the library: listens (or
// connects, where a server is tried), sends what the cell says, and then does what comes.
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { WebSocketServer } from 'ws'
import { unplug } from '../../dist/testing.js'
import { COMES } from './cells.mjs'

/** Long enough for what was sent to lie in the other's kernel. */
const BEFORE_IT_COMES_MS = 500

const host = process.env.PEER_HOST
const { KEY, CERT } = process.env
const secure = KEY && { key: readFileSync(KEY), cert: readFileSync(CERT) }

process.on('disconnect', () => process.exit())
const goes = new Map()
process.on('message', async ({ id, cell, port, go }) => {
  if (go) return goes.get(id)()
  cell.go = new Promise((resolve) => goes.set(id, resolve))
  const happened = () => process.send({ id, happened: true })
  if (cell.protocol === 'http server') post(cell, port, happened)
  else process.send({ id, port: await listen(cell, happened) })
})

async function listen(cell, happened) {
  let raw
  const server = serve(cell, (sender) => play(cell, { raw, ...sender }).then(happened))
  server.prependListener('connection', (socket) => {
    raw = socket.on('error', () => {})
  })
  await new Promise((resolve) => server.listen(0, host, resolve))
  return server.address().port
}

/** `begin` gets what the protocol sends and ends with; called once per cell. */
function serve(cell, begin) {
  const { protocol, bytes, answer } = cell
  const unread = cell.comes === 'RST by close'
  if (protocol === 'http2') {
    const server = cell.tls ? http2.createSecureServer(secure) : http2.createServer()
    return server.on('stream', (stream) => {
      stream.on('error', () => {})
      stream.session.on('error', () => {})
      stream.resume()
      stream.respond({ ':status': 200 })
      const end = () => stream.session.destroy()
      begin({ send: () => stream.write(Buffer.alloc(bytes)), end, close: end })
    })
  }
  if (protocol === 'ws') {
    const server = cell.tls ? https.createServer(secure) : http.createServer()
    new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
      socket.on('error', () => {})
      const stream = socket._socket
      const messages = bytes > 1e6 ? 80 : bytes > 1e4 ? 40 : bytes > 0 ? 1 : 0
      const send = () => {
        for (let i = 0; i < messages; i++) socket.send(Buffer.alloc(bytes / messages))
      }
      begin({ send, end: () => stream.end(), close: () => stream.destroy() })
    })
    return server
  }
  const options = { ...secure, allowHalfOpen: true, pauseOnConnect: unread }
  const begun = (socket) => {
    socket.on('error', () => {})
    const isHttp = protocol !== 'net'
    const head = isHttp ? headOf(cell, 'HTTP/1.1 200 OK') : ''
    const send = () => {
      socket.write(head)
      socket.write(Buffer.alloc(bytes))
    }
    const go = () => begin({ send, end: () => socket.end(), close: () => socket.destroy() })
    if (unread) return go()
    if (isHttp) socket.once('data', go)
    else go()
    socket.resume()
  }
  return cell.tls ? tls.createServer(options, begun) : net.createServer(options, begun)

  function headOf({ close }, first) {
    const length = answer === 'cut' ? bytes + 9_000_000 : bytes
    return `${first}\r\nContent-Length: ${length}\r\n${close ? 'Connection: close\r\n' : ''}\r\n`
  }
}

/** The client of an http server that is tried. */
function post(cell, port, happened) {
  const { bytes, answer } = cell
  const socket = net.connect({ port, host: process.env.SUBJECT_HOST, allowHalfOpen: true })
  socket.on('error', () => {}).resume()
  const length = answer === 'cut' ? bytes + 9_000_000 : bytes
  const send = () => {
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`)
    socket.write(Buffer.alloc(bytes))
  }
  const end = () => socket.end()
  socket.once('connect', () =>
    play(cell, { raw: socket, send, end, close: () => socket.destroy() }).then(happened),
  )
}

async function play({ comes, go }, { raw, send, end, close }) {
  send()
  await go
  await sleep(BEFORE_IT_COMES_MS)
  // The network is cut for all cells at once, by the other end.
  if (comes.startsWith('link down')) return
  if (COMES[comes].dead) unplug(raw)
  else if (comes === 'RST by close' || comes === 'FIN, then we write') close()
  else if (comes.startsWith('FIN')) end()
  else raw.resetAndDestroy()
  if (comes !== 'FIN, then RST') return
  await sleep(300)
  raw.resetAndDestroy()
}
