// Every native function with good arguments, many times, on connections that come and go; then
// the same in a worker that ends. argv: how many rounds of five calls and more. For valgrind.
const { once } = require('node:events')
const net = require('node:net')
const { join } = require('node:path')
const { Worker, isMainThread, workerData } = require('node:worker_threads')
const { getKeepalive, getTcpInfo, setDeadPeerTimeout, setKeepalive } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')

const binding = require('node-gyp-build')(join(__dirname, '..', '..'))
const PER_CONNECTION = 50

/** As many as native/sockopt.h has for a connection. */
const NUMBERS = 10
const numbers = new Int32Array(2 * NUMBERS)

async function work(rounds) {
  const server = net.createServer((socket) => socket.on('error', () => {}))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address()
  for (let round = 0; round < rounds; round += PER_CONNECTION) {
    const socket = net.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    setDeadPeerTimeout(socket, 60_000)
    for (let i = 1; i <= PER_CONNECTION; i++) {
      setKeepalive(socket, { idle: i, interval: 10, count: 3 })
      if (getKeepalive(socket).idle !== i) throw new Error('not set')
      getTcpInfo(socket)
      unplug(socket)()
      const { fd } = socket._handle
      numbers[0] = fd
      numbers[NUMBERS] = -1
      if (binding.sweep(numbers.buffer, 2) !== 0) throw new Error('not swept')
      binding.peerAddress(fd)
    }
    socket.resetAndDestroy()
  }
  server.close()
}

async function main() {
  const rounds = Number(process.argv[2])
  await work(rounds)
  const [code] = await once(new Worker(__filename, { workerData: rounds / 10 }), 'exit')
  if (code !== 0) throw new Error(`the worker ended with ${code}`)
}

if (isMainThread) main()
else work(workerData)
