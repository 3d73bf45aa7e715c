// The process that is measured: a server, and what run.mjs asks of it.
//   fork(server.mjs, [address]); its first message is its port
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { gc } from '../support/gc.mjs'

const library = () => import('../../dist/index.js')

/** Nanoseconds on a processor, all threads: process.cpuUsage() counts in ticks on some kernels. */
function processorTime() {
  let sum = 0
  for (const thread of readdirSync('/proc/self/task')) {
    sum += Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'latin1').split(' ')[0])
  }
  return sum
}

const sockets = []
let ended = 0
const listener = createServer((socket) => {
  socket.on('error', () => ended++)
  socket.resume()
  sockets.push(socket)
})

async function setAll(targets, { ms, keepalive, userTimeout }) {
  const { setDeadPeerTimeout, setKeepalive, setUserTimeout } = await library()
  for (const [nth, target] of targets.entries()) {
    // Loopback loses probes of which thousands come at once (docs/scale.md).
    if (nth % 500 === 499) await sleep(250)
    if (ms !== undefined) setDeadPeerTimeout(target, ms)
    if (keepalive !== undefined) setKeepalive(target, keepalive)
    if (userTimeout !== undefined) setUserTimeout(target, userTimeout)
  }
}

const commands = {
  count: () => sockets.length,
  ended: () => ended,
  set: (settings) => setAll([listener, ...sockets], settings),
  // What is loaded and compiled once is no part of what each connection costs.
  warm: async () => {
    const other = createServer((socket) => socket.resume()).listen(0)
    await setAll([other], { ms: 5000 })
    const socket = connect(other.address().port)
    await once(socket, 'connect')
    await sleep(1500)
    socket.destroy()
    other.close()
  },
  measure: async ({ ms }) => {
    const delay = monitorEventLoopDelay({ resolution: 20 })
    delay.enable()
    const before = processorTime()
    const from = performance.now()
    await sleep(ms)
    const percent = (processorTime() - before) / 1e4 / (performance.now() - from)
    delay.disable()
    return { percent, delay: delay.max / 1e6 - 20 }
  },
  memory: async () => {
    for (let i = 0; i < 4; i++) {
      gc()
      await sleep(50)
    }
    const { heapUsed, rss } = process.memoryUsage()
    return { heapUsed, rss }
  },
  // Outgoing connections, to the other process; set before they connect.
  dial: async ({ port, address, count, settings }) => {
    for (let i = 0; i < count; i++) {
      const socket = connect(port, address).on('error', () => ended++)
      if (settings !== undefined) await setAll([socket], settings)
      sockets.push(socket)
      if (i % 200 === 199) await once(socket, 'connect')
    }
    while (sockets.some((socket) => socket.connecting)) await sleep(50)
  },
  // More than both kernel buffers take.
  fill: () => {
    const more = Buffer.alloc(1 << 18)
    for (const socket of sockets) socket.write(more)
  },
  // So many peers go silent at once, and something is sent to each.
  die: async ({ part }) => {
    const { unplug } = await import('../../dist/testing.js')
    const dying = sockets.filter((_, i) => i % Math.round(1 / part) === 0)
    const from = performance.now()
    const ends = dying.map(async (socket) => {
      unplug(socket)
      socket.write('x')
      // Not `once`, which throws its 'error'.
      await new Promise((resolve) => socket.on('close', resolve))
      return { code: socket.errored?.code, after: performance.now() - from }
    })
    return Promise.all(ends)
  },
}
process.on('message', async ({ command, ...given }) =>
  process.send({ result: await commands[command](given) }),
)
process.on('disconnect', () => process.exit())
listener.listen({ port: 0, host: process.argv[2], backlog: 4096 }, () =>
  process.send({ result: listener.address().port }),
)
