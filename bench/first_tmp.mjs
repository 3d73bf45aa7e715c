import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
const require = createRequire(import.meta.url)
const { setKeepalive } = require(process.argv[2] + '/dist/index.js')
const FRESH = 2000, PARTS = 5
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const server = createServer((socket) => socket.on('error', () => {})).listen({ port: 0, backlog: 4096 })
await once(server, 'listening')
async function open(count) {
  const sockets = []
  for (let i = 0; i < count; i++) {
    const socket = connect(server.address().port, `127.0.0.${1 + (i % 8)}`).on('error', () => {})
    sockets.push(socket)
    if (i % 100 === 99) await once(socket, 'connect')
  }
  await Promise.all(sockets.map((socket) => socket.connecting && once(socket, 'connect')))
  return sockets
}
function first(sockets) {
  const parts = []
  for (let p = 0; p < PARTS; p++) {
    const part = sockets.slice((p * sockets.length) / PARTS, ((p + 1) * sockets.length) / PARTS)
    const from = process.hrtime.bigint()
    for (let i = 0; i < part.length; i++) setKeepalive(part[i], { idle: 60 + (i & 1), interval: 10 + (i & 1), count: 3 + (i & 1) })
    parts.push(Number(process.hrtime.bigint() - from) / part.length)
  }
  return median(parts)
}
const [socket] = await open(1)
for (let i = 0; i < 60000; i++) setKeepalive(socket, { idle: 60 + (i & 1), interval: 10 + (i & 1), count: 3 + (i & 1) })
first(await open(FRESH))
const a = first(await open(FRESH))
process.stdout.write(JSON.stringify({ first: a }), () => process.exit())
