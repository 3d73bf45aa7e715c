/**
 * For a process with refuse.c preloaded: lets each system call that a scene leads to
 * fail once with each error, and keeps what came of it.
 */
const { once } = require('node:events')
const { readdirSync } = require('node:fs')
const { connect, createServer } = require('node:net')
const { constants } = require('node:os')
const { setTimeout: sleep } = require('node:timers/promises')
const library = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')
const { native } = require('../../dist/native.js')
const { NO_VALUES } = require('../../dist/options/settings.js')
const { write } = require('../../dist/options/write.js')

const { setKeepalive, setUserTimeout, setDeadPeerTimeout, getKeepalive, getUserTimeout } = library

const CODES = ['EBADF', 'EINVAL', 'ENOPROTOOPT', 'ENOMEM', 'EPERM', 'ENOBUFS', 'EINTR']

/** Each calls the kernel as often as test/refusals.test.ts says. */
const SETTERS = {
  'setKeepalive, three fields': (target) =>
    setKeepalive(target, { idle: 60, interval: 10, count: 3 }),
  'setKeepalive, one field': (target) => setKeepalive(target, { interval: 10 }),
  'setKeepalive(true)': (target) => setKeepalive(target, true),
  'setKeepalive(false)': (target) => setKeepalive(target, false),
  setUserTimeout: (target) => setUserTimeout(target, 90_000),
  "setDeadPeerTimeout, 'keep'": (target) => setDeadPeerTimeout(target, 20_000),
  "setDeadPeerTimeout, 'end'": (target) =>
    setDeadPeerTimeout(target, 20_000, { slowReader: 'end' }),
  'setDeadPeerTimeout(0)': (target) => setDeadPeerTimeout(target, 0),
}

const RTO_MAX = 1

/** What the kernel has, also of a socket below an http2 session. */
function state(socket) {
  const { enabled, idle, interval, count } = getKeepalive(socket)
  const TCP_USER_TIMEOUT = getUserTimeout(socket)
  const told = native().get(socket._handle.fd, 1 << RTO_MAX) === 0
  return {
    TCP_USER_TIMEOUT,
    TCP_RTO_MAX_MS: told ? native().integers[RTO_MAX] : null,
    TCP_KEEPIDLE: idle,
    TCP_KEEPINTVL: interval,
    TCP_KEEPCNT: count,
    SO_KEEPALIVE: Number(enabled),
  }
}

/** Every option as no setter above sets it. */
function reset(socket, setter) {
  setDeadPeerTimeout(socket, 0)
  setKeepalive(socket, { idle: 7001, interval: 76, count: 8 })
  if (!['setKeepalive(false)', 'setDeadPeerTimeout(0)'].includes(setter)) {
    setKeepalive(socket, false)
  }
  setUserTimeout(socket, 12_345)
  const binding = native()
  binding.integers.fill(-1)
  binding.integers[RTO_MAX] = 60_000
  binding.set(socket._handle.fd)
}

let rules = 0
let leaked = 0

/** The nth call from now on fails, with 0 each does; of one option (its level and number), or of any. */
function refuse(call, code, nth = 0, option = '-1 -1') {
  const errno = constants.errno[code]
  process.env.REFUSE = `${call} ${option} ${errno} ${nth} #${rules++}`
}

function obey() {
  delete process.env.REFUSE
}

/** Refuses the first call with each error, then the second, until a scene has no such call. */
async function refuseEach(call, scene) {
  const rows = []
  const before = descriptors()
  for (const code of CODES) {
    for (let nth = 1; ; nth++) {
      const row = await scene(() => refuse(call, code, nth))
      obey()
      if (row === undefined) break
      rows.push({ code, nth, ...row })
    }
  }
  // What is closed here is closed at the other end a little later, also what was open before.
  for (let looks = 0; descriptors() > before && looks < 1000; looks++) await sleep(10)
  leaked += Math.max(0, descriptors() - before)
  return rows
}

function tell(error) {
  const { name, message, code, errno, syscall, option, changed } = error
  return { class: error.constructor.name, name, message, code, errno, syscall, option, changed }
}

function thrownBy(call) {
  try {
    call()
  } catch (error) {
    return error
  }
}

async function listen(server = createServer()) {
  server.on('connection', (socket) => socket.on('error', () => {}).resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

async function connected(server) {
  const [[accepted], client] = await Promise.all([
    once(server, 'connection'),
    (async () => {
      const socket = connect(server.address().port, '127.0.0.1').on('error', () => {})
      await once(socket, 'connect')
      return socket
    })(),
  ])
  return { accepted, client }
}

/** The kernel ends it a second later. No setter of this library is called. */
function die(socket) {
  write(socket._handle, { ...NO_VALUES, userTimeout: 1000 })
  unplug(socket)
  socket.write('x')
}

const closeOf = (emitter) => new Promise((resolve) => emitter.once('close', resolve))
const descriptors = () => readdirSync('/proc/self/fd').length

/** Prints what the scenes gave, and how many descriptors they have left open. */
async function main(scenes) {
  const server = await listen()
  const { client, accepted } = await connected(server)
  // The watcher is opened once, before descriptors are counted.
  if (process.env.UNWATCHED === undefined) setKeepalive(client, true)
  const rows = await scenes({ server, client, accepted })
  console.log(JSON.stringify({ rows, leaked }))
  process.exit()
}

module.exports = {
  CODES,
  SETTERS,
  closeOf,
  connected,
  descriptors,
  die,
  listen,
  main,
  obey,
  refuse,
  refuseEach,
  reset,
  state,
  tell,
  thrownBy,
}
