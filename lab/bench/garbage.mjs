// What calls leave behind, in bytes per call:
//   node --min-semi-space-size=128 --max-semi-space-size=128 garbage.mjs heap
//   node garbage.mjs process     the whole process, over a million
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { PerformanceObserver } from 'node:perf_hooks'
import {
  getKeepalive,
  getTcpInfo,
  getUserTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from '../../dist/index.js'
import { requireAlternative } from '../alternatives/index.mjs'
import { gc } from '../support/gc.mjs'
import { median } from '../support/median.mjs'

const CALLS = 50_000
const MILLION = 1_000_000
const server = createServer().listen(0)
await once(server, 'listening')
const socket = connect(server.address().port)
await once(socket, 'connect')

let kept
const options = [
  { idle: 60, interval: 10, count: 3 },
  { idle: 61, interval: 11, count: 4 },
]
const operations = {
  setKeepalive: (i) => setKeepalive(socket, options[i & 1]),
  setUserTimeout: (i) => setUserTimeout(socket, 90_000 + (i & 1)),
  setDeadPeerTimeout: (i) => setDeadPeerTimeout(socket, 30_000 + 10_000 * (i & 1)),
  getKeepalive: () => getKeepalive(socket),
  getUserTimeout: () => getUserTimeout(socket),
  getTcpInfo: () => getTcpInfo(socket),
}

let collections = 0
new PerformanceObserver((list) => {
  collections += list.getEntries().length
}).observe({ entryTypes: ['gc'] })

const turn = () => new Promise((resolve) => setTimeout(resolve, 20))
const used = () => process.memoryUsage().heapUsed

async function bytesPerCall(operation) {
  for (let i = 0; i < 20_000; i++) kept = operation(i)
  const rounds = []
  while (rounds.length < 5) {
    gc()
    await turn()
    collections = 0
    const before = used()
    for (let i = 0; i < CALLS; i++) kept = operation(i)
    const bytes = (used() - before) / CALLS
    await turn()
    if (collections === 0) rounds.push(bytes)
  }
  return median(rounds)
}

/** The object that a getter gives back is the caller's. */
function bytesOfResult(sample) {
  const fields = Object.keys(sample).map((key) => `${key}: o.${key}`)
  const copy = Function('o', `return { ${fields.join(', ')} }`)
  return bytesPerCall(() => copy(sample))
}

async function heap() {
  const garbage = {}
  for (const [name, operation] of Object.entries(operations)) {
    garbage[name] = await bytesPerCall(operation)
  }
  garbage.getKeepalive -= await bytesOfResult(getKeepalive(socket))
  garbage.getTcpInfo -= await bytesOfResult(getTcpInfo(socket))
  return garbage
}

async function growth(operation) {
  const settle = async () => {
    for (let i = 0; i < 3; i++) {
      gc()
      await turn()
    }
    return process.memoryUsage().rss
  }
  // The heap's own pages are in use from here on.
  for (let i = 0; i < MILLION / 2; i++) kept = operation(i)
  const before = await settle()
  for (let i = 0; i < MILLION; i++) kept = operation(i)
  return ((await settle()) - before) / MILLION
}

let peer
try {
  peer = requireAlternative('net-keepalive')
} catch {
  // It has no binary for this system.
}
const answer =
  process.argv[2] === 'heap'
    ? await heap()
    : {
        'tcp-keepalive': await growth(operations.setKeepalive),
        'net-keepalive':
          peer && (await growth((i) => peer.setKeepAliveProbes(socket, 3 + (i & 1)))),
      }
process.stdout.write(JSON.stringify(answer), () => process.exit(kept === null ? 1 : 0))
