// What a gateway pays for setDeadPeerTimeout(server, ms): npm run lab -- bench/gateway [--quick]
//
// Two servers at a time, one with the library and one without, each with as many connections
// from a process of its own, are measured over the same seconds: what other processes do to the
// processor they do to both. `ulimit -n` decides how many connections there are.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const library = () => import('../../dist/index.js')

/** Nanoseconds on a processor, all threads: process.cpuUsage() counts in ticks on some kernels. */
function processorTime() {
  let sum = 0
  for (const thread of readdirSync('/proc/self/task')) {
    sum += Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'latin1').split(' ')[0])
  }
  return sum
}

/** The process that is measured. */
function server(address) {
  const sockets = []
  const listener = createServer((socket) => {
    socket.on('error', () => {})
    socket.resume()
    sockets.push(socket)
  })
  const commands = {
    count: () => sockets.length,
    set: async ({ ms, keepalive, userTimeout }) => {
      const { setDeadPeerTimeout, setKeepalive, setUserTimeout } = await library()
      for (const target of [listener, ...sockets]) {
        if (ms !== undefined) setDeadPeerTimeout(target, ms)
        if (keepalive !== undefined) setKeepalive(target, keepalive)
        if (userTimeout !== undefined) setUserTimeout(target, userTimeout)
      }
    },
    // What is loaded and compiled once is no part of what each connection costs.
    warm: async () => {
      const { setDeadPeerTimeout } = await library()
      const other = createServer((socket) => socket.resume()).listen(0)
      setDeadPeerTimeout(other, 5000)
      const socket = connect(other.address().port)
      await once(socket, 'connect')
      await sleep(1500)
      socket.destroy()
      other.close()
    },
    measure: async ({ seconds }) => {
      const delay = monitorEventLoopDelay({ resolution: 20 })
      delay.enable()
      const before = processorTime()
      const from = performance.now()
      await sleep(seconds * 1000)
      const percent = (processorTime() - before) / 1e4 / (performance.now() - from)
      delay.disable()
      return { percent, delay: delay.max / 1e6 - 20 }
    },
    heap: async () => {
      for (let i = 0; i < 4; i++) {
        globalThis.gc()
        await sleep(50)
      }
      return process.memoryUsage().heapUsed
    },
    // More than both kernel buffers take.
    fill: () => {
      const more = Buffer.alloc(4 << 20)
      for (const socket of sockets) socket.write(more)
    },
    // So many peers go silent at once, and something is sent to each.
    die: async ({ part }) => {
      const { unplug } = await import('../../dist/testing.js')
      const dying = sockets.filter((_, i) => i % Math.round(1 / part) === 0)
      const from = performance.now()
      const ends = dying.map(async (socket) => {
        unplug(socket)
        socket.write('x')
        const [error] = await once(socket, 'close').then(() => [socket.errored])
        return { code: error?.code, after: performance.now() - from }
      })
      return Promise.all(ends)
    },
  }
  process.on('message', async ({ command, ...given }) =>
    process.send({ result: await commands[command](given) }),
  )
  process.on('disconnect', () => process.exit())
  const backlog = 4096
  listener.listen({ port: 0, host: address, backlog }, () =>
    process.send({ result: listener.address().port }),
  )
}

/** The other ends, whose processor time is nobody's business. */
async function peers(address, port, count) {
  const sockets = []
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(200, count - sockets.length) }, () =>
      connect(port, address).on('error', () => {}),
    )
    await Promise.all(some.map((socket) => once(socket, 'connect')))
    for (const socket of some) socket.resume()
    sockets.push(...some)
  }
  let nth = 0
  const commands = {
    ready: () => sockets.length,
    /** A tenth of them sends a message each second. */
    talk: () => {
      const talking = sockets.filter((_, i) => i % 10 === 0)
      setInterval(() => {
        const until = nth + talking.length / 20
        for (; nth < until; nth++) talking[nth % talking.length].write('a message of a device')
      }, 50)
    },
    pause: () => {
      for (const socket of sockets) socket.pause()
    },
  }
  process.on('message', ({ command }) => process.send({ result: commands[command]() }))
  process.on('disconnect', () => process.exit())
  process.send({ result: sockets.length })
}

class Child {
  constructor(role, ...parameters) {
    this.process = fork(import.meta.filename, ['--role', role, ...parameters.map(String)], {
      execArgv: ['--expose-gc', '--no-warnings'],
    })
    this.ready = this.answer()
  }
  async answer() {
    const [{ result }] = await once(this.process, 'message')
    return result
  }
  ask(command, given = {}) {
    this.process.send({ command, ...given })
    return this.answer()
  }
  async end() {
    this.process.disconnect()
    await once(this.process, 'exit')
  }
}

/** A server with its connections. */
async function gateway(address, count, { before } = {}) {
  const measured = new Child('server', address)
  const port = await measured.ready
  await measured.ask('warm')
  if (before !== undefined) await measured.ask('set', before)
  const others = new Child('peers', address, port, count)
  await others.ready
  while ((await measured.ask('count')) < count) await sleep(50)
  return { measured, others, end: () => Promise.all([measured.end(), others.end()]) }
}

const ADDRESSES = ['127.1.0.1', '127.2.0.1']
const nothing = { percent: 0, delay: 0 }

/** Both for the same seconds; the difference is the library's. */
async function pair(plain, set, seconds) {
  const [without, having] = await Promise.all([
    plain.measured.ask('measure', { seconds }),
    set.measured.ask('measure', { seconds }),
  ])
  return { without, having: having ?? nothing }
}

const row = (...cells) => console.log(`| ${cells.join(' | ')} |`)
const percent = (value) => value.toFixed(2)

async function processorTimes({ counts, times, seconds }) {
  console.log('\nPercent of a core, and the longest delay of the event loop.\n')
  row('connections', 'what they do', 'ms', 'without', 'with', 'above', 'loop', 'loop, with')
  row('--:', '---', '--:', '--:', '--:', '--:', '--:', '--:')
  for (const count of counts) {
    const [plain, set] = await Promise.all(ADDRESSES.map((address) => gateway(address, count)))
    const compare = async (what, ms) => {
      await set.measured.ask('set', { ms })
      await sleep(Math.min(8000, ms / 8) + 1000)
      const { without, having } = await pair(plain, set, seconds)
      const above = having.percent - without.percent
      const delays = [without, having].map(({ delay }) => `${delay.toFixed(1)} ms`)
      row(
        count,
        what,
        ms,
        percent(without.percent),
        percent(having.percent),
        percent(above),
        ...delays,
      )
    }
    for (const ms of times) await compare('idle', ms)
    await Promise.all([plain, set].map(({ others }) => others.ask('talk')))
    await compare('a tenth receives a message each second', 60_000)
    await Promise.all([plain.end(), set.end()])
  }
}

async function slowReaders({ counts, seconds }) {
  for (const count of counts) {
    const [plain, set] = await Promise.all(ADDRESSES.map((address) => gateway(address, count)))
    await Promise.all([plain, set].map(({ others }) => others.ask('pause')))
    await Promise.all([plain, set].map(({ measured }) => measured.ask('fill')))
    await set.measured.ask('set', { ms: 60_000 })
    await sleep(10_000)
    const { without, having } = await pair(plain, set, seconds)
    const above = having.percent - without.percent
    const delays = [without, having].map(({ delay }) => `${delay.toFixed(1)} ms`)
    row(
      count,
      'all slow readers',
      60_000,
      percent(without.percent),
      percent(having.percent),
      percent(above),
      ...delays,
    )
    await Promise.all([plain.end(), set.end()])
  }
}

async function deaths({ count, times }) {
  console.log('\nOne in twenty peers dies at once, with data in flight: when they are errors.\n')
  row('connections', 'ms', 'dead', 'ETIMEDOUT', 'first', 'median', 'last', 'promised')
  row('--:', '--:', '--:', '--:', '--:', '--:', '--:', '--:')
  for (const ms of times) {
    const { measured, end } = await gateway(ADDRESSES[0], count, { before: { ms } })
    await sleep(Math.min(3000, ms / 4))
    const ends = await measured.ask('die', { part: 0.05 })
    const after = ends.map((each) => each.after / 1000).sort((a, b) => a - b)
    const timedOut = ends.filter(({ code }) => code === 'ETIMEDOUT').length
    const [first, median, last] = [0, after.length >> 1, after.length - 1].map(
      (nth) => `${after[nth].toFixed(1)} s`,
    )
    row(count, ms, ends.length, timedOut, first, median, last, `${(ms / 1000 + 1).toFixed(0)} s`)
    await end()
  }
}

const WAYS = [
  ['setKeepalive', { keepalive: { idle: 60, interval: 10, count: 3 } }],
  ['setUserTimeout', { userTimeout: 60_000 }],
  ['setDeadPeerTimeout', { ms: 60_000 }],
]

async function memory({ count }) {
  console.log('\nBytes of heap for each connection, above one that nothing is set on.\n')
  row('', 'accepted by a server that is set', 'set itself')
  row('---', '--:', '--:')
  const heapOf = async (options, later) => {
    const { measured, end } = await gateway(ADDRESSES[0], count, options)
    if (later !== undefined) await measured.ask('set', later)
    // Past the first look.
    await sleep(8000)
    const heap = await measured.ask('heap')
    await end()
    return heap
  }
  const none = await heapOf({})
  for (const [name, given] of WAYS) {
    const accepted = await heapOf({ before: given })
    const itself = await heapOf({}, given)
    row(name, ...[accepted, itself].map((heap) => Math.round((heap - none) / count)))
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { role: { type: 'string' }, quick: { type: 'boolean' }, only: { type: 'string' } },
})
const [first, ...others] = positionals
if (values.role === 'server') server(first)
else if (values.role === 'peers') await peers(first, ...others.map(Number))
else {
  const { quick, only } = values
  const counts = quick ? [1000] : [1000, 5000, 9500, 19_000]
  const times = [10_000, 60_000, 300_000]
  const wanted = (part) => only === undefined || only.includes(part)
  console.log(`Node ${process.version}`)
  if (wanted('time')) await processorTimes({ counts, times, seconds: quick ? 4 : 20 })
  if (wanted('slow')) await slowReaders({ counts: quick ? [1000] : [1000, 9500], seconds: 20 })
  if (wanted('die'))
    await deaths({ count: quick ? 1000 : 9500, times: quick ? [5000] : [10_000, 60_000] })
  if (wanted('memory')) await memory({ count: quick ? 2000 : 9500 })
}
