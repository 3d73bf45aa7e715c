// Workers that set and watch sockets and lose their peers, started and terminated at random
// moments: npm run lab -- dying-workers [workers] [seed].
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { generator } from '../support/random.mjs'

const WORKER = join(import.meta.dirname, 'worker.cjs')
const workers = Number(process.argv[2] ?? 100)
const random = generator(Number(process.argv[3] ?? 1))

const counts = { workers: 0, set: 0, told: 0 }
const codes = {}

async function life() {
  const worker = new Worker(WORKER)
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

await life()
const before = readdirSync('/proc/self/fd').length
const lane = async () => {
  while (counts.workers < workers) await life()
}
await Promise.all([lane(), lane(), lane(), lane()])
const leaked = readdirSync('/proc/self/fd').length - before
console.log(JSON.stringify({ ...counts, codes, leaked }))
