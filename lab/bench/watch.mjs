// What watching sockets costs: npm run lab -- bench/watch [connections]
//
// The same connections, set and watched, and set without being watched (the binding
// is told to refuse), each in a process of its own; the peers are in a third.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { setKeepalive } from '../../dist/index.js'
import { gc } from '../support/gc.mjs'
import { median } from '../support/median.mjs'
import { later } from './later.mjs'
import { open, peers } from './sockets.mjs'

const [, file, role, ...rest] = process.argv
const ROUNDS = 5
const CALLS = 20_000
const PROCESSES = 3

function heap() {
  for (let i = 0; i < 3; i++) gc()
  return process.memoryUsage().heapUsed
}

async function measure(watched, connections) {
  const require = createRequire(import.meta.url)
  const { native } = require('../../dist/native.js')
  if (!watched) native().watch = () => -1
  const { child: peer, port } = await peers('echo')

  // The first call of a process loads the binding and finds Node's internals.
  const [first] = await open(port, 1)
  setKeepalive(first, true)
  const [warm, sockets] = [await open(port, connections), await open(port, connections)]
  for (const socket of warm) setKeepalive(socket, true)
  await later()
  const before = heap()
  const times = []
  for (let i = 0; i < ROUNDS; i++) {
    const part = sockets.slice((i * connections) / ROUNDS, ((i + 1) * connections) / ROUNDS)
    const from = performance.now()
    for (const socket of part) setKeepalive(socket, true)
    const setting = (performance.now() - from) * 1e6
    times.push((setting + (await later())) / part.length)
  }
  const bytes = (heap() - before) / connections

  // A healthy connection at work.
  const [busy] = sockets
  let left = 2000 + CALLS
  let from
  await new Promise((resolve) => {
    busy.on('data', () => {
      if (--left === CALLS) from = process.cpuUsage()
      if (left === 0) resolve()
      else busy.write('x')
    })
    busy.write('x')
  })
  const { user, system } = process.cpuUsage(from)
  busy.removeAllListeners('data')

  // All die in one moment, and nobody reads them.
  const dying = [...warm, ...sockets.filter((socket) => socket !== busy)]
  let told = 0
  let started
  let took = Number.NaN
  const last = new Promise((resolve) => {
    for (const socket of dying) {
      socket.on('error', () => {
        if (++told !== dying.length) return
        took = performance.now() - started
        resolve()
      })
    }
  })
  peer.send({ fill: 'all', bytes: 1 << 19 })
  await sleep(3000)
  started = performance.now()
  const cpu = process.cpuUsage()
  peer.send({ reset: 'all' })
  await Promise.race([last, sleep(2000)])
  const processor = process.cpuUsage(cpu)
  process.send({
    setNs: median(times),
    bytes,
    roundTripUs: (user + system) / CALLS,
    told: `${told} of ${dying.length}`,
    took,
    deathUs: told === 0 ? Number.NaN : (processor.user + processor.system) / told,
  })
  peer.disconnect()
  process.exit()
}

async function main() {
  const connections = Number(role ?? 1000)
  // In turn, and the least of each figure: whatever else the machine does only adds.
  const answers = {}
  for (let i = 0; i < PROCESSES; i++) {
    for (const way of ['unwatched', 'watched']) {
      const child = fork(file, [way, String(connections)])
      const [answer] = await once(child, 'message')
      await once(child, 'exit')
      const least = answers[way] ?? answer
      for (const [key, value] of Object.entries(answer)) {
        if (typeof value === 'number' && value < least[key]) least[key] = value
      }
      answers[way] = least
    }
  }
  const rows = [
    ['first setKeepalive of a socket, ns', 'setNs', 0],
    ['JavaScript heap per socket, bytes', 'bytes', 0],
    ['processor per round trip of a healthy socket, µs', 'roundTripUs', 2],
    ['unread sockets reset at once: told', 'told'],
    ['until the last one was told, ms', 'took', 0],
    ['processor per death, µs', 'deathUs', 0],
  ]
  console.log(`${connections} sockets, Node ${process.version}`)
  console.log(''.padEnd(50), 'not watched'.padStart(14), 'watched'.padStart(14))
  for (const [name, key, digits] of rows) {
    const cells = ['unwatched', 'watched'].map((way) => {
      const value = answers[way][key]
      return (typeof value === 'number' ? value.toFixed(digits) : (value ?? '-')).padStart(14)
    })
    console.log(name.padEnd(50), ...cells)
  }
}

if (role === 'watched' || role === 'unwatched') await measure(role === 'watched', Number(rest[0]))
else await main()
