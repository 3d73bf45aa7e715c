/**
 * Connects, sets and destroys in random order, so that descriptors, and what is kept by
 * their numbers, are reused all the time: `npm run lab -- reuse [connects] [seed]`.
 *
 * Each live socket, at both ends, is read back from the kernel and must have what was
 * meant for it and nothing else; an error must be one that its own peer made.
 */
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, createServer, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  getKeepalive,
  getUserTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
  support,
} from '../dist/index.js'
import { gc } from './support/gc.mjs'
import { generator } from './support/random.mjs'

const connects = Number(process.argv[2] ?? 50_000)
const seed = Number(process.argv[3] ?? 1)
const POOL = 50
/** For so long Node comes first where a connection has ended. */
const LOOKING_MS = 60

const random = generator(seed)
const upTo = (n) => Math.floor(random() * n)
const oneOf = (array) => array[upTo(array.length)]

const counts = {
  sets: 0,
  readBack: 0,
  refusedWhenClosed: 0,
  fromFinalizers: 0,
  reused: 0,
  takenOver: 0,
  told: 0,
}
const wrong = []
const live = new Set()
const numbers = new Set()
/** When a dead socket that was being looked at gave its number back. */
const givenBack = new Map()
/** Connections of which one end was reset, by the client's address and port. */
const resets = new Set()
let defaults
let opened = 0

const read = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })
const descriptors = () => readdirSync('/proc/self/fd').length
const busy = (ms) => {
  for (const end = performance.now() + ms; performance.now() < end; );
}

/** A socket and what is meant for it. */
function remember(socket, client) {
  const record = {
    socket,
    client,
    want: { ...defaults },
    set: false,
    reset: false,
    peer: undefined,
  }
  live.add(record)
  socket.on('error', (error) => {
    counts.told++
    if (
      !(record.key === undefined || resets.has(record.key)) ||
      !['ECONNRESET', 'EPIPE'].includes(error.code)
    ) {
      wrong.push(`an error of no peer of its own: ${error.message}`)
    }
    setClosed(record)
  })
  socket.on('close', () => {
    live.delete(record)
    setClosed(record)
    if (random() < 0.3) setAny()
  })
  return record
}

/** To be called when a socket has got its descriptor. */
function numbered({ socket }) {
  const { fd } = socket._handle
  if (numbers.has(fd)) counts.reused++
  numbers.add(fd)
  if (performance.now() - givenBack.get(fd) < LOOKING_MS) counts.takenOver++
  givenBack.delete(fd)
}

const SETTERS = [
  ({ socket, want }) => {
    const [idle, interval, count] = [1000 + upTo(20_000), 20 + upTo(900), 2 + upTo(100)]
    setKeepalive(socket, { idle: idle + (idle % 1000 === 0), interval, count })
    Object.assign(want, { enabled: true, idle: idle + (idle % 1000 === 0), interval, count })
  },
  ({ socket, want }) => {
    const ms = 100_000 + upTo(1e6)
    setUserTimeout(socket, ms)
    want.userTimeout = ms
  },
  ({ socket, want }) => {
    setKeepalive(socket, false)
    want.enabled = false
  },
  (record) => {
    const { socket, want } = record
    const slowReader = oneOf(['keep', 'end'])
    const plan = setDeadPeerTimeout(socket, 100_000 + upTo(1e6), { slowReader })
    const { idle, interval, count, userTimeout, connectTimeout } = plan
    Object.assign(want, { enabled: true, idle, interval, count, userTimeout })
    if (socket.pending) record.bound = connectTimeout
  },
]

function set(record) {
  oneOf(SETTERS)(record)
  record.set = true
  counts.sets++
  // Node's own call changes nothing on what was set, unless keepalive was turned off.
  if (record.want.enabled && random() < 0.2) record.socket.setKeepAlive(true, 1000)
}

function setAny() {
  const record = oneOf([...live])
  if (record === undefined || record.socket.destroyed) return
  set(record)
  if (random() < 0.2) set(record)
}

function setClosed({ socket }) {
  try {
    oneOf(SETTERS)({ socket, want: {} })
    wrong.push('a closed socket was set')
  } catch ({ code, message }) {
    if (code === 'ERR_SOCKET_CLOSED') counts.refusedWhenClosed++
    else wrong.push(`a closed socket: ${message}`)
  }
}

function check(record, isLast = false) {
  const { socket, want, bound } = record
  if (socket.destroyed || socket.connecting || socket._handle === null) return
  counts.readBack++
  const settings = read(socket)
  // What has bounded the connect is taken back a little later.
  if (!isLast && settings.userTimeout === bound) settings.userTimeout = want.userTimeout
  const has = JSON.stringify(settings)
  if (has !== JSON.stringify(want)) wrong.push(`meant ${JSON.stringify(want)}, has ${has}`)
}

const registry = new FinalizationRegistry(() => {
  counts.fromFinalizers++
  setAny()
})

/** Any address of 127/8, so that ports do not run out. */
function open(port) {
  opened++
  const socket = new Socket({ allowHalfOpen: true })
  const record = remember(socket, true)
  record.socket.resume()
  registry.register({}, undefined)
  if (random() < 0.4) set(record)
  socket.connect(port, `127.${1 + upTo(200)}.${upTo(250)}.${1 + upTo(250)}`)
  if (random() < 0.3) set(record)
  socket.on('connect', () => {
    record.key = `${socket.localAddress}:${socket.localPort}`
    numbered(record)
  })
  // As soon as it has its descriptor, connected or not.
  if (random() < 0.2) process.nextTick(() => socket.destroyed || set(record))
  if (random() < 0.05) socket.destroy()
}

/** One end dies, and the other has to live with it. */
function end(record) {
  check(record)
  const { socket, key } = record
  if (resets.has(key) && record.set && socket._handle) {
    givenBack.set(socket._handle.fd, performance.now())
  }
  const way = random()
  if (way < 0.3) {
    // libuv resets nothing whose FIN is on its way out.
    if (socket.connecting || socket.writableEnded !== socket.writableFinished) return
    resets.add(key)
    socket.resetAndDestroy()
  } else if (way < 0.6) {
    // Half open: nobody hears of what the peer does next, but the watcher.
    if (!socket.connecting) socket.end()
    return
  } else {
    socket.destroy()
  }
  setClosed(record)
}

// The watcher is opened once.
if (support.watch !== true) throw new Error(support.watch)
const server = createServer({ allowHalfOpen: true }, (socket) => {
  const record = remember(socket.resume(), false)
  // One that was reset before it was accepted has no peer's address any more.
  if (socket.remotePort) record.key = `${socket.remoteAddress}:${socket.remotePort}`
  numbered(record)
  if (random() < 0.3) set(record)
}).listen({ port: 0, host: '0.0.0.0', backlog: 4 * POOL })
await once(server, 'listening')
// Without the server, which is closed in the end.
const before = descriptors() - 1
const { port } = server.address()
const reference = connect(port, '127.0.0.1')
await once(reference, 'connect')
defaults = read(reference)
await sleep(50)
for (const { socket } of live) socket.destroy()
reference.destroy()
await sleep(50)
numbers.clear()
counts.readBack = 0

while (opened < connects) {
  for (let i = upTo(8); i >= 0; i--) {
    const what = random()
    if (what < 0.5 && live.size < 2 * POOL) open(port)
    else if (what < 0.7) setAny()
    else if (live.size > 0) end(oneOf([...live]))
  }
  for (const record of live) if (random() < 0.2) check(record)
  const pause = random()
  if (pause < 0.02) busy(5 + upTo(20))
  else if (pause < 0.04) await sleep(upTo(80))
  if (pause < 0.005) gc()
  await new Promise(setImmediate)
  if (wrong.length > 20) break
}
await sleep(2000)
for (const record of live) check(record, true)
for (const { socket } of live) socket.destroy()
server.close()
await once(server, 'close')
for (let looks = 0; descriptors() > before && looks < 50; looks++) await sleep(20)
const leaked = descriptors() - before
console.log(
  JSON.stringify({ seed, connects: opened, descriptors: numbers.size, ...counts, leaked, wrong }),
)
process.exit(wrong.length === 0 && leaked === 0 ? 0 : 1)
