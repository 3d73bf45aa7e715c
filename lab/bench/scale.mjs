// Many watched sockets: node scale.mjs COUNT PORT_OF_HOLD
// What setting, watching and sweeping them costs, and how soon it is told when 1 % die.
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, setDeadPeerTimeout, setKeepalive } from '../../dist/index.js'
import { gc } from '../support/gc.mjs'
import { later } from './later.mjs'
import { keyOf, open, peers } from './sockets.mjs'

const [count, holding] = process.argv.slice(2).map(Number)
const LOOKS = 10
const milliseconds = () => Number(process.hrtime.bigint()) / 1e6

async function memory() {
  for (let i = 0; i < 4; i++) {
    gc()
    await sleep(20)
  }
  const { heapUsed, rss } = process.memoryUsage()
  return { heapUsed, rss }
}

const { child: peer, port } = await peers()
const warm = await open(port, 300)
for (const socket of warm) setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
const sockets = await open(port, count)
const before = await memory()
const from = milliseconds()
for (const socket of sockets) setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
const setMs = milliseconds() - from
const after = await memory()
for (const socket of warm) socket.destroy()

const dying = sockets.filter((_, i) => i % 100 === 50)
const keys = dying.map(keyOf)
peer.send({ fill: keys, bytes: 1 << 18 })
await sleep(1500)
const idle = monitorEventLoopDelay({ resolution: 1 })
idle.enable()
await sleep(1000)
idle.disable()
let left = dying.length
let last = 0
const all = new Promise((resolve) => {
  for (const socket of dying) {
    socket.on('error', () => {
      last = milliseconds()
      if (--left === 0) resolve()
    })
  }
})
const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
peer.send({ reset: keys })
const [reset] = await once(peer, 'message')
await Promise.race([all, sleep(3000)])
delay.disable()
peer.disconnect()
for (const socket of sockets) socket.destroy()
await sleep(200)

// Peers that do not read: what is sent waits in the kernel.
const slow = await open(holding, count)
const more = Buffer.alloc(32 * 1024)
for (const socket of slow) socket.write(more)
await sleep(1500)
const waiting = slow.filter((socket) => getTcpInfo(socket).notSentBytes > 0).length
const looking = monitorEventLoopDelay({ resolution: 1 })
looking.enable()
let ended = 0
for (const socket of slow) {
  socket.on('error', () => ended++)
  setDeadPeerTimeout(socket, 60_000)
}
// The first looks also bound each closed window, and are compiled meanwhile.
await sleep(4000)
looking.reset()
await later()
// Timed, because the clock of processor time counts in ticks that are longer than a look.
await sleep(LOOKS * 500)
const lookNs = (await later()) / LOOKS
looking.disable()
process.send({
  setNs: (setMs * 1e6) / count,
  setMs,
  heapBytes: (after.heapUsed - before.heapUsed) / count,
  rssBytes: (after.rss - before.rss) / count,
  dying: dying.length,
  told: dying.length - left,
  lastErrorMs: last - reset.to,
  resettingMs: reset.to - reset.from,
  idleDelayMs: idle.max / 1e6,
  delayMs: delay.max / 1e6,
  sweepNs: lookNs / count,
  lookMs: lookNs / 1e6,
  sweepDelayMs: looking.max / 1e6,
  waiting,
  ended,
})
await sleep(50)
process.exit()
