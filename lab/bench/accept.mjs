// A server that was set, or not: node accept.mjs none|setKeepalive|setDeadPeerTimeout
// Told {port, connections} it counts its own processor time until all have come and gone.
import { createServer } from 'node:net'
import { setDeadPeerTimeout, setKeepalive } from '../../dist/index.js'

const ways = {
  none: () => {},
  setKeepalive: (server) => setKeepalive(server, { idle: 60, interval: 10, count: 3 }),
  setDeadPeerTimeout: (server) => setDeadPeerTimeout(server, 30_000),
}
let left = 0
let from
let connections = 0
const server = createServer((socket) => {
  socket.on('error', () => {})
  socket.resume()
  socket.on('close', () => {
    if (--left > 0) return
    const { user, system } = process.cpuUsage(from)
    process.send({ microseconds: (user + system) / connections })
  })
})
ways[process.argv[2]](server)
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () =>
  process.send({ port: server.address().port }),
)
process.on('message', ({ expect }) => {
  left = expect
  connections = expect
  from = process.cpuUsage()
  process.send({ ready: true })
})
process.on('disconnect', () => process.exit())
