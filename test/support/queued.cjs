// Megabytes lie unread in the kernel when the connection ends. argv: whether this library
// has set the socket; who consumes; what; how it ends; how much. Prints what was delivered,
// and how it ended. (Needs a receive buffer that is large from the start.)
const { once } = require('node:events')
const http = require('node:http')
const { connect, createServer } = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { getTcpInfo, setKeepalive, setUserTimeout } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')
const { NO_VALUES } = require('../../dist/options/settings.js')
const { write } = require('../../dist/options/write.js')

const [, , set, consumer, over, ending, length] = process.argv
const SIZE = Number(length)

async function every(ms, stream) {
  for await (const { length } of stream) {
    received += length
    last = performance.now()
    await sleep(ms(++chunks))
  }
}
const consumers = {
  async flowing(stream) {
    stream.on('data', ({ length }) => {
      received += length
    })
  },
  // Hesitates now and then, as a consumer with a database behind it does.
  slow: (stream) => every((chunk) => (chunk % 20 === 10 ? 400 : 15), stream),
  async stuck() {},
}
let received = 0
let chunks = 0
let last = performance.now()

async function overNet() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect(server.address().port, '127.0.0.1')
  const [[peer]] = await Promise.all([once(server, 'connection'), once(socket, 'connect')])
  peer.write(Buffer.alloc(SIZE))
  return { server, socket, peer, stream: socket }
}

async function overHttp() {
  const server = http.createServer((_, response) => response.write(Buffer.alloc(SIZE)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const request = http.get({ port: server.address().port, host: '127.0.0.1', agent: false })
  request.on('error', () => {})
  const [[peer], [stream]] = await Promise.all([
    once(server, 'connection'),
    once(request, 'response'),
  ])
  return { server, socket: stream.socket, peer, stream }
}

async function main() {
  const { server, socket, peer, stream } = await (over === 'http' ? overHttp() : overNet())
  const byDeath = ending === 'death'
  if (set === 'set') byDeath ? setUserTimeout(socket, 1000) : setKeepalive(socket, true)
  // The kernel's part of it, and nothing else.
  else if (byDeath) write(socket._handle, { ...NO_VALUES, userTimeout: 1000 })
  const log = []
  socket.on('end', () => log.push('end'))
  socket.on('error', ({ message }) => log.push(`error: ${message}`))
  socket.on('close', (hadError) => log.push(`close(${hadError})`))
  stream.on('error', () => {})

  while (getTcpInfo(socket).receivedBytes < SIZE) await sleep(5)
  const queued = SIZE - socket.bytesRead

  if (byDeath) {
    unplug(socket)
    socket.write('x')
  } else peer.resetAndDestroy()
  const consume = consumers[consumer] ?? ((stream) => every(() => Number(consumer), stream))
  consume(stream).catch(() => {})
  // A reset that nobody reads stays unseen.
  const seen = consumer !== 'stuck' || byDeath
  if (seen) await new Promise((resolve) => socket.once('close', resolve))
  else await sleep(2000)
  const sinceLast = performance.now() - last
  server.close()
  console.log(JSON.stringify({ queued, received, log, sinceLast }))
  process.exit()
}

main()
