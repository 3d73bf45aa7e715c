// How the process grows over a million calls, in bytes per call: node growth.mjs
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { setKeepalive } from '../../dist/index.js'
import { requireAlternative } from '../alternatives/index.mjs'
import { gc } from '../support/gc.mjs'

const MILLION = 1_000_000
const server = createServer().listen(0)
await once(server, 'listening')
const socket = connect(server.address().port)
await once(socket, 'connect')

async function resident() {
  for (let i = 0; i < 3; i++) {
    gc()
    await sleep(20)
  }
  return process.memoryUsage().rss
}

async function growth(operation) {
  // The heap's own pages are in use from here on.
  for (let i = 0; i < MILLION / 2; i++) operation(i)
  const before = await resident()
  for (let i = 0; i < MILLION; i++) operation(i)
  return ((await resident()) - before) / MILLION
}

const options = [
  { idle: 60, interval: 10, count: 3 },
  { idle: 61, interval: 11, count: 4 },
]
const answer = { 'tcp-keepalive': await growth((i) => setKeepalive(socket, options[i & 1])) }
try {
  const other = requireAlternative('net-keepalive')
  answer['net-keepalive'] = await growth((i) => other.setKeepAliveProbes(socket, 3 + (i & 1)))
} catch {
  // It has no binary for this system.
}
process.stdout.write(JSON.stringify(answer), () => process.exit())
