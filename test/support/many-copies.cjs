/**
 * Many copies of the library in one process, as a test runner's module registry and hot
 * reloading make them, for test/left-behind.test.ts:
 *
 *     node --expose-gc test/support/many-copies.cjs 300 [binary]
 *
 * `binary`: the binary is loaded anew for each copy as well.
 */
const { once } = require('node:events')
const { readdirSync } = require('node:fs')
const net = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { LoopClock } = require('./loop-clock.cjs')

const count = Number(process.argv[2])
const again =
  process.argv[3] === 'binary' ? /\/dist\/|node-gyp-build|\.node$/ : /\/dist\/|node-gyp-build/

function copy() {
  for (const file of Object.keys(require.cache)) if (again.test(file)) delete require.cache[file]
  return { ...require('../../dist/index.js'), ...require('../../dist/testing.js') }
}

async function connected(library, port, socket = new net.Socket()) {
  socket.connect(port, '127.0.0.1')
  library?.setDeadPeerTimeout(socket, 2000)
  await once(socket, 'connect')
  return socket
}

async function closed(socket) {
  socket.destroy()
  await once(socket, 'close')
}

/** Processor time of a connection, in microseconds: the least of some rounds. */
async function cost(library, port) {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 5; round++) {
    const before = process.cpuUsage()
    for (let i = 0; i < 20; i++) await closed(await connected(library, port))
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, (user + system) / 20)
  }
  return Math.round(least)
}

const descriptors = () => readdirSync('/proc/self/fd').length

/** A dead peer is due after two seconds. */
const LATEST_MS = 9000

/** How two dead peers of this copy end: one with data in flight, one that nobody reads. */
async function deaths(library, port) {
  const sockets = [
    await connected(library, port),
    await connected(library, port, new net.Socket().pause()),
  ]
  for (const socket of sockets) library.unplug(socket)
  sockets[0].write('into silence')
  const clock = new LoopClock()
  return Promise.all(
    sockets.map(async (socket) => {
      const [{ message }] = await once(socket, 'error')
      return clock.since() < LATEST_MS ? message : `${message}, late`
    }),
  )
}

async function main() {
  const server = net.createServer((peer) => peer.on('error', () => {}).resume())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address()
  const first = copy()
  // Code is compiled by then.
  await cost(first, port)
  const one = await cost(first, port)
  await sleep(100)
  const before = descriptors()
  let last = first
  for (let i = 1; i < count; i++) {
    last = copy()
    await closed(await connected(last, port))
    // Some last long enough to be watched.
    if (i % 50 !== 0) continue
    const socket = await connected(last, port)
    await sleep(50)
    await closed(socket)
  }
  const many = await cost(last, port)
  await sleep(100)
  const after = descriptors()
  const [ofFirst, ofLast] = await Promise.all([deaths(first, port), deaths(last, port)])
  console.log(JSON.stringify({ one, many, before, after, ofFirst, ofLast }))
  process.exit()
}

main()
