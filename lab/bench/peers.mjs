// The other ends, in a process of their own, so that the measured one's figures are its own:
// fork(peers.mjs, [echo | unread]). Its first message is its port; told { fill, bytes } or
// { reset } it does that to those sockets (keyOf), 'all' or a list, and says when it has reset them.
import { createServer } from 'node:net'

const [, , way] = process.argv
const sockets = new Map()
const server = createServer((socket) => {
  sockets.set(
    `${socket.remotePort} ${socket.localAddress}`,
    socket.on('error', () => {}),
  )
  if (way === 'echo') socket.on('data', (chunk) => socket.write(chunk))
  if (way === 'unread') socket.pause()
})
server.listen({ port: 0, host: '0.0.0.0', backlog: 4096 }, () =>
  process.send(server.address().port),
)

const chosen = (keys) =>
  keys === 'all' ? [...sockets.values()] : keys.map((key) => sockets.get(key))
/** The same clock in every process. */
const milliseconds = () => Number(process.hrtime.bigint()) / 1e6

process.on('message', ({ fill, bytes, reset }) => {
  if (fill) {
    const more = Buffer.alloc(bytes)
    for (const socket of chosen(fill)) socket.write(more)
  }
  if (reset) {
    const from = milliseconds()
    for (const socket of chosen(reset)) socket.resetAndDestroy()
    process.send({ from, to: milliseconds() })
  }
})
process.on('disconnect', () => process.exit())
