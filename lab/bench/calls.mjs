// One subject's calls on connected sockets, in a process of its own: node calls.mjs SUBJECT
// Prints nanoseconds per call as JSON; every subject's settings are read back once.
import { once } from 'node:events'
import { createServer } from 'node:net'
import {
  getKeepalive,
  getTcpInfo,
  getUserTimeout,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
} from '../../dist/index.js'
import { requireAlternative } from '../alternatives/index.mjs'
import { median } from '../support/median.mjs'
import {
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_USER_TIMEOUT,
} from '../support/option-numbers.mjs'
import { later } from './later.mjs'
import { open } from './sockets.mjs'

// Short, so that some are never interrupted.
const BATCH = 500
/** Until the compiler has done with what is called. */
const WARM = 80
const BATCHES = 120
const FRESH = 2000
const PARTS = 5

const subjects = {
  'tcp-keepalive': () => ({
    setKeepalive: (socket, i) =>
      setKeepalive(socket, { idle: 60 + (i & 1), interval: 10 + (i & 1), count: 3 + (i & 1) }),
    setUserTimeout: (socket, i) => setUserTimeout(socket, 90_000 + (i & 1)),
    setDeadPeerTimeout: (socket, i) => setDeadPeerTimeout(socket, 30_000 + 10_000 * (i & 1)),
    getKeepalive: (socket) => getKeepalive(socket),
    getTcpInfo: (socket) => getTcpInfo(socket),
  }),
  // Interval and count are its own: 1 and 10. Equal arguments would be skipped.
  node: () => ({
    setKeepalive: (socket, i) => socket.setKeepAlive(true, 60_000 + 1000 * (i & 1)),
    idleOnly: true,
  }),
  'node, 4 arguments': () => ({
    setKeepalive: (socket, i) =>
      socket.setKeepAlive(true, 60_000 + 1000 * (i & 1), 10_000 + 1000 * (i & 1), 3 + (i & 1)),
  }),
  'net-keepalive': () => {
    const peer = requireAlternative('net-keepalive')
    return {
      setKeepalive: (socket, i) => {
        socket.setKeepAlive(true, 60_000 + 1000 * (i & 1))
        peer.setKeepAliveInterval(socket, 10_000 + 1000 * (i & 1))
        peer.setKeepAliveProbes(socket, 3 + (i & 1))
      },
      setUserTimeout: (socket, i) => peer.setUserTimeout(socket, 90_000 + (i & 1)),
      // It cannot tell whether keepalive is on, nor the idle time.
      getKeepalive: (socket) => ({
        interval: peer.getKeepAliveInterval(socket),
        count: peer.getKeepAliveProbes(socket),
      }),
    }
  },
  sockopt: () => {
    const { getsockopt, setsockopt } = requireAlternative('sockopt')
    return {
      setKeepalive: (socket, i) => {
        setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60 + (i & 1))
        setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10 + (i & 1))
        setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, 3 + (i & 1))
        setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
      },
      setUserTimeout: (socket, i) =>
        setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 90_000 + (i & 1)),
      getKeepalive: (socket) => ({
        enabled: getsockopt(socket, SOL_SOCKET, SO_KEEPALIVE) !== 0,
        idle: getsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE),
        interval: getsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL),
        count: getsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT),
      }),
    }
  },
  'node:ffi': () => {
    const { dlopen, getRawPointer } = requireAlternative('node:ffi')
    const { functions } = dlopen(null, {
      setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
    })
    const value = new Int32Array(1)
    const pointer = getRawPointer(value.buffer)
    const set = (socket, level, option, to) => {
      value[0] = to
      if (functions.setsockopt(socket._handle.fd, level, option, pointer, 4) !== 0) throw Error()
    }
    return {
      setKeepalive: (socket, i) => {
        set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60 + (i & 1))
        set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 10 + (i & 1))
        set(socket, IPPROTO_TCP, TCP_KEEPCNT, 3 + (i & 1))
        set(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
      },
      setUserTimeout: (socket, i) => set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 90_000 + (i & 1)),
    }
  },
}

let seen
function nanoseconds(operation, socket) {
  const batches = []
  for (let b = 0; b < WARM + BATCHES; b++) {
    const from = process.hrtime.bigint()
    for (let i = 0; i < BATCH; i++) seen = operation(socket, i)
    batches.push(Number(process.hrtime.bigint() - from) / BATCH)
  }
  // As floor.c: what else the machine does only adds.
  return batches.slice(WARM).sort((a, b) => a - b)[BATCHES / 4]
}

const server = createServer((socket) => socket.on('error', () => {})).listen({
  port: 0,
  backlog: 4096,
})
await once(server, 'listening')
const { port } = server.address()

async function first(set, sockets) {
  await later()
  const parts = []
  for (let p = 0; p < PARTS; p++) {
    const part = sockets.slice((p * sockets.length) / PARTS, ((p + 1) * sockets.length) / PARTS)
    const from = process.hrtime.bigint()
    for (let i = 0; i < part.length; i++) set(part[i], i)
    parts.push(Number(process.hrtime.bigint() - from) / part.length)
  }
  return median(parts) + (await later()) / sockets.length
}

const { idleOnly, ...operations } = subjects[process.argv[2]]()
const [socket] = await open(port, 1)
const answer = {}
for (const [name, operation] of Object.entries(operations)) {
  answer[name] = nanoseconds(operation, socket)
}
operations.setKeepalive(socket, 1)
const { enabled, idle, interval, count } = getKeepalive(socket)
if (!enabled || idle !== 61 || (!idleOnly && (interval !== 11 || count !== 4))) {
  throw new Error(`not set: ${JSON.stringify({ enabled, idle, interval, count })}`)
}
operations.setUserTimeout?.(socket, 1)
if (operations.setUserTimeout && getUserTimeout(socket) !== 90_001) throw new Error('not set')

// What is done a moment later is compiled by then, too.
for (let i = 0; i < 4; i++) {
  const warm = await open(port, FRESH)
  await first(operations.setKeepalive, warm)
  for (const socket of warm) socket.destroy()
}
answer.first = await first(operations.setKeepalive, await open(port, FRESH))
if (operations.setDeadPeerTimeout) {
  answer.firstDeadPeer = await first(operations.setDeadPeerTimeout, await open(port, FRESH))
}
process.stdout.write(JSON.stringify(answer), () => process.exit(seen === null ? 1 : 0))
