/**
 * Workers that set and watch sockets and lose their peers, started and terminated at
 * random moments: `node test/support/dying-workers.cjs [workers] [seed]`.
 */
const { once } = require('node:events')
const { readdirSync } = require('node:fs')
const { setTimeout: sleep } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')

const WORK = `
  const { once } = require('node:events')
  const { connect, createServer } = require('node:net')
  const { setTimeout: sleep } = require('node:timers/promises')
  const { parentPort } = require('node:worker_threads')
  const { setKeepalive, setUserTimeout, setDeadPeerTimeout } = require('tcp-keepalive')
  const { unplug } = require('tcp-keepalive/testing')
  ;(async () => {
    const ends = []
    const server = createServer({ allowHalfOpen: true }, (socket) => ends.push(socket.on('error', () => {})))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    for (;;) {
      const socket = connect(server.address().port, '127.0.0.1').on('error', () => parentPort.postMessage('told'))
      setUserTimeout(socket, 1000)
      await once(socket, 'connect')
      setDeadPeerTimeout(socket, 2000)
      setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
      parentPort.postMessage('set')
      if (ends.length % 3 === 0) unplug(socket)
      // Its buffer is full: the watcher tells.
      if (ends.length % 3 === 1) ends.at(-1).write(Buffer.alloc(1 << 20), () => ends.at(-1).resetAndDestroy())
      if (ends.length % 3 === 2) ends.at(-1).resetAndDestroy()
      await sleep(5)
    }
  })()
`

let state = Number(process.argv[3] ?? 1)
/** Park and Miller's: the same moments for the same seed. */
const random = () => {
  state = (state * 48271) % 2147483647
  return state / 2147483647
}

const counts = { workers: 0, set: 0, told: 0 }
const codes = {}

async function life() {
  const worker = new Worker(WORK, { eval: true })
  const exit = once(worker, 'exit')
  let left = 1 + Math.floor(random() * 40)
  await new Promise((resolve) => {
    worker.on('message', (what) => {
      counts[what]++
      if (--left === 0) resolve()
    })
    // Some before they run, or while they load; most after so many messages.
    if (random() < 0.3) setTimeout(resolve, random() * 100)
  })
  await sleep(random() * 20)
  const before = performance.now()
  await worker.terminate()
  const [code] = await exit
  codes[code] = (codes[code] ?? 0) + 1
  counts.workers++
  if (performance.now() - before > 10_000) throw new Error('a worker did not end')
}

async function main() {
  const workers = Number(process.argv[2] ?? 100)
  await life()
  const before = readdirSync('/proc/self/fd').length
  const lane = async () => {
    while (counts.workers < workers) await life()
  }
  await Promise.all([lane(), lane(), lane(), lane()])
  const leaked = readdirSync('/proc/self/fd').length - before
  console.log(JSON.stringify({ ...counts, codes, leaked }))
}

main()
