// One cell of the comparison, in a process of its own: node cell.mjs SUBJECT CELL
// Prints what came out, in a few words, as JSON. What is in the kernel is told by
// witness.py, which inherits the descriptor: no subject is a witness of itself.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { unplug } from '../../dist/testing.js'
import { subjects } from './subjects.mjs'

const WITNESS = join(import.meta.dirname, 'witness.py')
const SETTINGS = { idle: 70, interval: 30, count: 5, userTimeout: 90_000 }
const [, , name, cell] = process.argv
const subject = await subjects[name]()

function witness(socket, ...args) {
  const stdio = ['ignore', 'pipe', 'inherit', socket._handle.fd]
  return JSON.parse(execFileSync('python3', [WITNESS, ...args.map(String)], { stdio }))
}

/** What this subject can set, as far as it can. */
function setAll(socket, settings = SETTINGS) {
  subject.keepalive(socket, settings)
  subject.userTimeout?.(socket, settings.userTimeout)
}

const accepted = []
const server = createServer((socket) => accepted.push(socket.on('error', () => {}))).listen(0)
await once(server, 'listening')
/** A connection, and its other end. */
async function open() {
  const socket = connect(server.address().port, '127.0.0.1')
  await once(socket, 'connect')
  while (accepted.length === 0) await sleep(5)
  return [socket, accepted[0]]
}

const WORDS = { idle: 'idle', interval: 'interval', count: 'count', userTimeout: 'user timeout' }
/** `yes`, or which of the settings are there. */
function inWords(found, wanted = SETTINGS) {
  const same = Object.keys(WORDS).filter((key) => key in wanted && found?.[key] === wanted[key])
  if (same.length === Object.keys(wanted).length) return 'yes'
  return same.length === 0 ? 'no' : `${same.map((key) => WORDS[key]).join(', ')} only`
}
const codeOf = (error) => error.code ?? error.name
function attempt(action) {
  try {
    action()
  } catch (error) {
    return codeOf(error)
  }
  return 'none'
}

/** Seconds until 'error', or undefined. */
async function errorOf(socket, seconds, begin = () => {}) {
  const from = performance.now()
  const signal = AbortSignal.timeout(seconds * 1000)
  const told = new Promise((resolve) => {
    socket.on('error', () => resolve((performance.now() - from) / 1000))
    signal.onabort = () => resolve(undefined)
  })
  begin()
  return await told
}
/** The kernel is never early and at most an eighth late; Node adds its turn. */
const inTime = (seconds, wanted) => seconds > wanted - 0.1 && seconds < wanted * 1.125 + 0.7

const cells = {
  async idle() {
    const [socket] = await open()
    subject.keepalive(socket, { idle: 2, interval: 2, count: 2 })
    const seconds = await errorOf(socket, 16, () => unplug(socket))
    if (seconds === undefined) return 'no'
    return inTime(seconds, 6) ? 'yes' : `after ${Math.floor(seconds)} s instead of 6`
  },
  async inFlight() {
    const [socket] = await open()
    setAll(socket, { idle: 2, interval: 2, count: 2, userTimeout: 3000 })
    const seconds = await errorOf(socket, 8, () => {
      unplug(socket)
      socket.write('select 1')
    })
    return inTime(seconds, 3.2) ? 'yes' : 'no'
  },
  async connecting() {
    const child = spawn('python3', [WITNESS, 'silent'])
    const port = Number(await once(child.stdout, 'data'))
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    const why = attempt(() => setAll(socket, { ...SETTINGS, userTimeout: 2000 }))
    const seconds = await errorOf(socket, 6)
    child.kill()
    if (inTime(seconds, 2)) return 'yes'
    return why === 'none' ? 'no' : `throws ${why}`
  },
  async options() {
    const [socket] = await open()
    setAll(socket)
    return inWords(witness(socket, 'read'))
  },
  async early() {
    const socket = connect(server.address().port, '127.0.0.1')
    const why = attempt(() => setAll(socket))
    await once(socket, 'connect')
    await sleep(50)
    const words = inWords(witness(socket, 'read'))
    return why === 'none' ? words : `throws ${why}`
  },
  async server() {
    let peer
    const set = subject.server((socket) => {
      peer = socket
    }, SETTINGS)
    // What a listener of 'listening' throws is nobody's to catch but this.
    let why
    process.on('uncaughtException', (error) => {
      why = codeOf(error)
    })
    set.listen(0)
    await sleep(50)
    if (why !== undefined) return `throws ${why}`
    connect(set.address().port)
    while (peer === undefined) await sleep(5)
    await sleep(50)
    return inWords(witness(peer, 'read'))
  },
  async readBack() {
    const [socket] = await open()
    // Set by somebody else, so that no cache can know it.
    const options = [1, 9, 1, 6, 4, 70, 6, 5, 30, 6, 6, 5, 6, 18, 90_000]
    witness(socket, 'set', ...options)
    return inWords(subject.read?.(socket))
  },
  async refusal() {
    const [socket] = await open()
    const code = attempt(() => subject.keepalive(socket, { idle: 70, interval: 30, count: 200 }))
    if (witness(socket, 'read').count === 200) throw new Error('the kernel took it')
    return code
  },
  async unixSocket() {
    const path = `\0tcp-keepalive-compare-${process.pid}`
    const local = createServer().listen(path)
    await once(local, 'listening')
    const socket = connect(path)
    await once(socket, 'connect')
    return attempt(() => subject.keepalive(socket, SETTINGS))
  },
  async holds() {
    const [socket] = await open()
    setAll(socket)
    // As Node's agents do when a socket returns to the pool.
    socket.setKeepAlive(true, 1000)
    return inWords(witness(socket, 'read'))
  },
  async unread() {
    const [socket, peer] = await open()
    subject.keepalive(socket, { idle: 1, interval: 1, count: 3 })
    const flood = () => {
      while (peer.write(Buffer.alloc(65_536)));
    }
    peer.on('drain', flood)
    flood()
    socket.once('readable', () => {})
    let told = false
    socket.on('error', () => {
      told = true
    })
    await sleep(1500)
    unplug(socket)
    const until = performance.now() + 20_000
    while (!socket.destroyed && !witness(socket, 'read').dead) {
      if (performance.now() > until) throw new Error('the kernel did not give it up')
      await sleep(1000)
    }
    await sleep(2000)
    return told ? 'yes' : 'no'
  },
  async slowReader() {
    const bound = (socket) =>
      subject.deadPeer
        ? subject.deadPeer(socket, 3000)
        : setAll(socket, { ...SETTINGS, userTimeout: 3000 })
    const [socket, peer] = await open()
    bound(socket)
    peer.pause()
    while (socket.write(Buffer.alloc(65_536)));
    for (let i = 0; i < 100; i++) socket.write(Buffer.alloc(65_536))
    const ended = await errorOf(socket, 8)
    if (ended !== undefined) return 'ends both'
    accepted.length = 0
    const [other] = await open()
    bound(other)
    const seconds = await errorOf(other, 6, () => {
      unplug(other)
      other.write('select 1')
    })
    return seconds === undefined ? 'ends neither' : 'yes'
  },
  /** Any other option: the priority of its packets. */
  async anyOption() {
    const [socket] = await open()
    const SO_PRIORITY = 12
    if (subject.option === undefined) return 'no'
    subject.option(socket, 1, SO_PRIORITY, 3)
    return 'yes'
  },
  async destroyed() {
    const [socket] = await open()
    socket.destroy()
    return attempt(() => subject.keepalive(socket, SETTINGS))
  },
  async wrongValues() {
    const [socket] = await open()
    const values = [Number.NaN, -1, 0, 1.5, 2 ** 40, '30', null, {}, 1n, Symbol('x')]
    const codes = values.map((interval) =>
      attempt(() => subject.keepalive(socket, { ...SETTINGS, interval })),
    )
    return `${codes.filter((code) => code !== 'none').length} of ${codes.length}`
  },
}

process.stdout.write(JSON.stringify(await cells[cell]()), () => process.exit())
