// npm run lab -- soak --connections N --minutes M [--seed S]: connections with traffic, a tenth of
// them unplugged at random moments and in random states, two fifths of these plugged in
// again in time. Ends with 1 where a dead one is no error within its window, a live one
// is touched, or memory or descriptors do not end where they began.
//
// One process holds both ends of every connection, in a network namespace of its own.
import { spawnSync } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { insideNamespace, smallBuffers } from '../support/namespace.mjs'
import { generator } from '../support/random.mjs'
import { holdings, leftOver, table } from './report.mjs'
import { round } from './round.mjs'

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '5000' },
    minutes: { type: 'string', default: '3' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
  },
})
const count = Number(values.connections)
const minutes = Number(values.minutes)
const seed = Number(values.seed)

/** Quick times in a short run, so that a whole death fits in. */
const QUICK = [3000, 5000]
const TIMES = minutes < 1 ? QUICK : [...QUICK, 10_000, 20_000]

// Freed memory goes back to the system as soon as it can.
Object.assign(process.env, { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '0' })
if (insideNamespace()) await main()

async function main() {
  spawnSync('ip', ['link', 'set', 'lo', 'up'], { stdio: 'inherit' })
  smallBuffers()
  const limits = readFileSync('/proc/self/limits', 'utf8')
  const [, limit] = /Max open files +(\S+)/.exec(limits)
  const wanted = 2 * count + 100
  console.log(`${count} connections, ${minutes} min, seed ${seed}; ${limit} descriptors allowed`)
  if (wanted > Number(limit)) throw new Error(`${count} connections need ulimit -n ${wanted}`)

  const random = generator(seed)
  const told = { count: 0, sockets: new WeakSet() }
  subscribe('tcp-keepalive:dead-peer', ({ socket }) => {
    told.count++
    told.sockets.add(socket)
  })
  // Warm-up: as many connections and every way to end: what is allocated once is there then.
  await round({ count, times: QUICK, span: 1000, random, told })
  const before = await holdings()
  told.count = 0
  const delay = monitorEventLoopDelay({ resolution: 5 })
  delay.enable()
  const span = Math.max(1000, minutes * 60_000 - Math.max(...TIMES) - 2000)
  const { faults, died } = table(await round({ count, times: TIMES, span, random, told }))
  delay.disable()
  if (told.count !== died) {
    faults.push(`tcp-keepalive:dead-peer was published ${told.count} times for ${died} dead`)
  }
  faults.push(...leftOver(before, await holdings(), count))
  console.log(`the event loop was late by ${(delay.max / 1e6).toFixed(0)} ms at most`)
  for (const fault of faults.slice(0, 20)) console.log('OFF', fault)
  console.log(faults.length === 0 ? 'all as promised' : `${faults.length} OFF`)
  process.exit(faults.length === 0 ? 0 : 1)
}
