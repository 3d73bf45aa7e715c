// Five megabytes lie unread in the kernel when the peer resets. argv: whether this
// library has set the socket, and who consumes. Prints what was delivered, and how
// it ended. (Needs a receive buffer that is large from the start.)
const { once } = require('node:events')
const { connect, createServer } = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { getTcpInfo, setKeepalive } = require('tcp-keepalive')

const [, , set, consumer] = process.argv
const SIZE = 5_000_000

const consumers = {
  async flowing(socket) {
    socket.on('data', ({ length }) => {
      received += length
    })
  },
  // Hesitates now and then, as a consumer with a database behind it does.
  async slow(socket) {
    let chunks = 0
    for await (const { length } of socket) {
      received += length
      await sleep(++chunks % 20 === 10 ? 400 : 15)
    }
  },
  async stuck() {},
}
let received = 0

async function main() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect(server.address().port, '127.0.0.1')
  const [[peer]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')])
  if (set === 'set') setKeepalive(socket, true)
  const log = []
  socket.on('end', () => log.push('end'))
  socket.on('error', ({ message }) => log.push(`error: ${message}`))
  socket.on('close', (hadError) => log.push(`close(${hadError})`))

  peer.write(Buffer.alloc(SIZE))
  while (getTcpInfo(socket).receivedBytes < SIZE) await sleep(5)
  const queued = SIZE - socket.bytesRead

  peer.resetAndDestroy()
  consumers[consumer](socket).catch(() => {})
  await new Promise((resolve) => socket.once('close', resolve))
  server.close()
  console.log(JSON.stringify({ queued, received, log }))
}

main()
