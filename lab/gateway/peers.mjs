// The other ends, whose processor time is not counted.
//   fork(peers.mjs, [address, port, count]) connects them; without a port it is a server for them
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

process.on('disconnect', () => process.exit())
const [, , address, port, count = 0] = process.argv
const sockets = []
while (sockets.length < count) {
  const some = Array.from({ length: Math.min(200, count - sockets.length) }, () =>
    connect(port, address).on('error', () => {}),
  )
  await Promise.all(some.map((socket) => once(socket, 'connect')))
  for (const socket of some) socket.resume()
  sockets.push(...some)
}
let nth = 0
const commands = {
  /** A tenth of them sends a message each second. */
  talk: () => {
    const talking = sockets.filter((_, i) => i % 10 === 0)
    setInterval(() => {
      const until = nth + talking.length / 20
      for (; nth < until; nth++) talking[nth % talking.length].write('a message of a device')
    }, 50)
  },
  pause: () => {
    for (const socket of sockets) socket.pause()
  },
}
process.on('message', ({ command }) => process.send({ result: commands[command]() }))
if (port === undefined) {
  const server = createServer((socket) => sockets.push(socket.resume().on('error', () => {})))
  server.listen({ port: 0, host: address, backlog: 4096 }, () =>
    process.send({ result: server.address().port }),
  )
} else process.send({ result: sockets.length })
