// Inside the sandbox: live connections stay, and those whose peer goes silent end in time.
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  getUserTimeout,
  installDefaults,
  planDeadPeerTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from '../../dist/index.js'

const where = { port: 7000, host: process.argv[2] }
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

/** A connection over which both ends have said something. */
async function open(set = () => {}) {
  const socket = connect(where)
  socket.on('error', () => {})
  await once(socket, 'connect')
  set(socket)
  socket.write('x')
  await once(socket, 'data')
  return socket.resume()
}

const MS = 5000
const dead = (socket) => setDeadPeerTimeout(socket, MS)
const nothing = () => {}
const write = (socket) => socket.write('are you there?')

/** What is set, what happens when the peer has gone silent, and until when there must be an error, in ms. */
const ROWS = [
  ['idle, dead peer 5000', dead, nothing, MS + 1500],
  ['in flight, dead peer 5000', dead, write, MS + 1500],
  [
    'idle, keepalive 2/1/3',
    (socket) => setKeepalive(socket, { idle: 2, interval: 1, count: 3 }),
    nothing,
    6500,
  ],
  ['in flight, user timeout 4000', (socket) => setUserTimeout(socket, 4000), write, 6500],
]

async function rowsOf() {
  const undo = installDefaults({ deadPeerTimeout: MS })
  const byDefault = await open()
  undo()
  const rows = [
    { name: 'in flight, by default 5000', socket: byDefault, act: write, limit: MS + 1500 },
  ]
  for (const [name, set, act, limit] of ROWS)
    rows.push({ name, socket: await open(set), act, limit })
  // The address of the peer is known still.
  const socket = connect.bind(undefined, where)
  rows.push({
    name: 'connecting, dead peer 5000',
    connects: () => {
      const connecting = socket()
      dead(connecting)
      return connecting
    },
    limit: MS + 2500,
  })
  return rows
}

async function ended({ name, socket, act, connects, limit }) {
  const begin = performance.now()
  const subject = connects?.() ?? socket
  act?.(subject)
  const timeout = AbortSignal.timeout(3 * limit)
  const [error] = await once(subject, 'error', { signal: timeout }).catch(() => [])
  const after = performance.now() - begin
  const fine = error !== undefined && after > 0.5 * MS && after < limit
  console.log(
    `${fine ? '  ' : '! '}${name.padEnd(30)} ${error?.message ?? 'no error'} after ${(after / 1000).toFixed(1)} s`,
  )
  return fine
}

await lines.next()
const plan = planDeadPeerTimeout(MS)
console.log(`slowReader is '${plan.slowReader}', the user timeout ${plan.userTimeout} ms`)
const live = [
  await open((socket) => setDeadPeerTimeout(socket, 2000)),
  await open((socket) => setDeadPeerTimeout(socket, 2000)),
]
for (let i = 0; i < 20; i++) {
  live[1].write('x')
  await sleep(300)
}
const kept = live.every((socket) => !socket.destroyed)
console.log(`${kept ? '  ' : '! '}live peers, idle and talking, for three times the time`)
for (const socket of live) socket.destroy()

const rows = await rowsOf()
const set = rows.slice(0, 3).every(({ socket }) => getUserTimeout(socket) === plan.userTimeout)
console.log(`${set ? '  ' : '! '}the connections have the plan's user timeout`)
console.log('ready')
await lines.next()
const results = await Promise.all(rows.map(ended))
process.exit(plan.slowReader === 'end' && kept && set && results.every(Boolean) ? 0 : 1)
