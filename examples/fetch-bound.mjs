// fetch with a dead-peer timeout. Its sockets are not accessible, so installDefaults sets every
// outgoing socket. A server that goes silent while it answers is an error; a slow server is not.
// node examples/fetch-bound.mjs
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { installDefaults, isDeadPeerError } from 'tcp-keepalive'
import { unplug } from 'tcp-keepalive/testing'

installDefaults({ deadPeerTimeout: 3000 })
// The same without this line: TCP_KEEPALIVE_DEAD_PEER_MS=3000 node --require tcp-keepalive/register …

const server = createServer(async (request, response) => {
  response.write('a first part, ')
  if (request.url === '/slow') setTimeout(() => response.end('and a late one'), 4000)
})
await once(server.listen(0, '127.0.0.1'), 'listening')
const origin = `http://127.0.0.1:${server.address().port}`

const slow = fetch(`${origin}/slow`).then((response) => response.text())

let socket
subscribe('net.client.socket', (message) => {
  socket = message.socket
})
const response = await fetch(`${origin}/silent`)
unplug(socket)
await response.text().catch((error) => {
  console.log('silent:', isDeadPeerError(error) ? `dead peer, ${error.cause.code}` : error)
})
console.log('slow:', await slow)
process.exit()
