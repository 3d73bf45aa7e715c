// What keeping slow readers costs: npm run lab -- bench/slow-readers [connections] [seconds]
//
// Connections whose peers do not read, all with a closed window, each way of
// setDeadPeerTimeout in turn. The peers live in a process of their own, so that
// the processor time is this end's alone.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, setDeadPeerTimeout } from '../../dist/index.js'
import { gc } from '../support/gc.mjs'
import { open, peers } from './sockets.mjs'

const connections = Number(process.argv[2] ?? 1000)
const seconds = Number(process.argv[3] ?? 10)
const ways = [
  ['nothing set', () => {}],
  ["'keep', 30 s", (socket) => setDeadPeerTimeout(socket, 30_000)],
  ["'keep', 8 s", (socket) => setDeadPeerTimeout(socket, 8000)],
]
// More than both kernel buffers take.
const more = Buffer.alloc(8 * 1024 * 1024)
console.log(`${connections} slow readers, ${seconds} s each, Node ${process.version}`)
console.log(
  'way                                  processor ms per s   heap bytes per socket   ended',
)
for (const [name, set] of ways) {
  // Anew, because peers that do not read would not hear of the end either.
  const { child: peer, port } = await peers('unread')
  const sockets = await open(port, connections)
  let ended = 0
  for (const socket of sockets) {
    socket.on('error', () => ended++)
    socket.write(more)
  }
  gc()
  const heap = process.memoryUsage().heapUsed
  for (const socket of sockets) set(socket)
  gc()
  const perSocket = (process.memoryUsage().heapUsed - heap) / connections
  while (sockets.some((socket) => !waits(socket))) await sleep(100)
  await sleep(1000)
  const before = process.cpuUsage()
  await sleep(seconds * 1000)
  const { user, system } = process.cpuUsage(before)
  const perSecond = (user + system) / 1000 / seconds
  console.log(
    name.padEnd(36),
    perSecond.toFixed(2).padStart(19),
    perSocket.toFixed(0).padStart(23),
    String(ended).padStart(7),
  )
  for (const socket of sockets) socket.destroy()
  peer.kill()
  await once(peer, 'exit')
}

function waits(socket) {
  const { unacknowledgedSegments, notSentBytes } = getTcpInfo(socket)
  return unacknowledgedSegments === 0 && notSentBytes > 0
}
