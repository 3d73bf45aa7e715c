// When the keepalive probes of many idle connections come: npm run lab -- probes
//   --seed S --connections 100000   of the simulation
//   --ms 60000                      whose plan is simulated
//   --hz 250                        the kernel's ticks a second
//   --write                         into docs/scale.md
//   --real                          beside real connections, whose probes the kernel counts (5 minutes)
//
// The simulation has the kernel's own rules (net/ipv4/tcp_timer.c, tcp_keepalive_timer) and its
// timer wheel: a timer waits for the end of its slot, so that many expire in one moment.
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { planDeadPeerTimeout, setKeepalive } from '../dist/index.js'
import { expiry } from '../dist/kernel/timers.js'
import { native } from '../dist/native.js'
import { insideNamespace } from './support/namespace.mjs'
import { writePart } from './support/part.mjs'
import { generator } from './support/random.mjs'
import { table } from './support/words.mjs'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    connections: { type: 'string', default: '100000' },
    ms: { type: 'string', default: '60000' },
    hz: { type: 'string', default: '250' },
    write: { type: 'boolean' },
    real: { type: 'boolean' },
  },
})
const [seed, connections, ms, hz] = ['seed', 'connections', 'ms', 'hz'].map((name) =>
  Number(values[name]),
)
const TICK = 1000 / hz

/**
 * The probes of each tick. `begins` has when each connection is made, `idles` its idle time;
 * while the network is `away`, nothing is answered, and of the probes of one tick no more than
 * `answered` are. Times in milliseconds.
 */
function simulate({ begins, idles, interval, count, away = [0, 0], answered = Infinity, until }) {
  const probes = new Map()
  const wheel = Array.from({ length: Math.ceil(until / TICK) })
  const last = Float64Array.from(begins)
  const unanswered = new Uint8Array(begins.length)
  let ended = 0
  const set = (i, now, length) => {
    const at = Math.round(expiry(now, length, hz) / TICK)
    if (at >= wheel.length) return
    wheel[at] ??= []
    wheel[at].push(i)
  }
  for (const [i, begin] of begins.entries()) set(i, begin, idles[i])
  for (let tick = 0; tick < wheel.length; tick++) {
    const now = tick * TICK
    const isAway = now >= away[0] && now < away[1]
    let left = isAway ? 0 : answered
    for (const i of wheel[tick] ?? []) {
      const silent = now - last[i]
      if (silent < idles[i]) {
        set(i, now, idles[i] - silent)
        continue
      }
      if (unanswered[i] >= count) {
        ended++
        continue
      }
      probes.set(tick, (probes.get(tick) ?? 0) + 1)
      unanswered[i]++
      if (left-- > 0) {
        last[i] = now
        unanswered[i] = 0
      }
      // Also where it is answered: at that expiry the kernel finds out, and waits for the rest.
      set(i, now, interval)
    }
    wheel[tick] = undefined
  }
  return { probes, ended }
}

/** The most that come within `width`. */
function most(probes, from, to, width) {
  const sums = new Map()
  for (const [tick, count] of probes) {
    const at = tick * TICK
    if (at < from || at >= to) continue
    const slot = Math.floor(at / width)
    sums.set(slot, (sums.get(slot) ?? 0) + count)
  }
  return Math.max(0, ...sums.values())
}

const JITTERS = [0, 0.1, 0.25]
const inPercent = (jitter) => (jitter === 0 ? 'no jitter' : `± ${jitter * 100} %`)
const MILLION = 1_000_000
const rounded = (number) => Number(number.toPrecision(2)).toLocaleString('en')
/** A probe and its answer on Ethernet, each way: headers of 20, 20 and 12 bytes, preamble and gap. */
const BITS = 8 * Math.max(84, 18 + 20 + 32 + 20)

/** What plans ask for, of connections that were made at any time. */
function plans() {
  const rows = []
  for (const each of [10_000, 30_000, 60_000, 300_000, 600_000]) {
    const { idle, interval, count } = planDeadPeerTimeout(each)
    const random = generator(seed)
    const begins = Array.from({ length: connections / 5 }, () => random() * idle * 1000)
    const idles = begins.map(() => idle * 1000)
    const until = 4000 * idle
    const { probes } = simulate({ begins, idles, interval: interval * 1000, count, until })
    const scale = MILLION / begins.length
    const half = [until / 2, until]
    const all = most(probes, ...half, Infinity) * scale
    const perSecond = all / (until / 2000)
    rows.push([
      `${each / 1000} s`,
      `${idle}, ${interval}, ${count}`,
      rounded(perSecond),
      `${rounded((perSecond * BITS) / 1e6)} Mbit/s`,
      rounded(most(probes, ...half, TICK) * scale),
      rounded(MILLION / interval),
    ])
  }
  const head = [
    '`ms`',
    'idle, interval, count',
    'probes a second',
    'on the wire, each way',
    'most in one tick',
    'a second while all are silent',
  ]
  return table(head, rows, 'rlrrrr')
}

function simulation() {
  const { idle: idleSeconds, interval: intervalSeconds, count } = planDeadPeerTimeout(ms)
  const [idle, interval] = [idleSeconds * 1000, intervalSeconds * 1000]
  // The longest that ends nobody: all but one of the probes go unanswered.
  const outage = interval * (count - 1)
  const START = 3 * idle
  const events = [
    ['opened at random times', { spread: idle }],
    [`all opened within 20 s, as after a restart`, { spread: 20_000 }],
    [`all opened within 100 s`, { spread: 100_000 }],
    [`the network is down for ${outage / 1000} s`, { spread: idle, away: [START, START + outage] }],
  ]
  const rows = []
  for (const [title, { spread, away }] of events) {
    for (const jitter of JITTERS) {
      const random = generator(seed)
      const begins = Array.from({ length: connections }, () => random() * spread)
      // The kernel takes whole seconds.
      const idles = begins.map(
        () => 1000 * Math.round(idleSeconds * (1 + jitter * (2 * random() - 1))),
      )
      const since = away?.[1] ?? 0
      const round = idle * (1 + jitter)
      const until = since + spread + 12 * round
      const { probes, ended } = simulate({ begins, idles, interval, count, away, until })
      const scale = MILLION / connections
      const first = away?.[0] ?? 0
      const early = [first, since + spread + 1.5 * round]
      const late = [until - 1.5 * round, until]
      const figures = [
        most(probes, ...early, 1000),
        most(probes, ...late, 1000),
        most(probes, ...early, TICK),
        most(probes, ...late, TICK),
      ]
      const cells = figures.map((each) => rounded(each * scale))
      rows.push([title, inPercent(jitter), ...cells, ended])
    }
  }
  const mean = rounded(MILLION / idleSeconds)
  return [
    `\`npm run lab -- probes --seed ${seed} --connections ${connections} --ms ${ms} --hz ${hz}\`. A million idle connections, opened at random times:`,
    plans(),
    `The same with idle ${idleSeconds} s, interval ${intervalSeconds} s, count ${count}, on average ${mean} probes a second, after an event that synchronizes them:`,
    table(
      [
        'connections',
        'jitter in `idle`',
        'in the worst second, at first',
        'after ten rounds',
        'in the worst tick, at first',
        'after ten rounds',
        'ended',
      ],
      rows,
      'llrrrrr',
    ),
    `On loopback, a processor queues ${BACKLOG} packets (\`net.core.netdev_max_backlog\`) and drops the others. If connections are set all at once, and their timers run on one processor, that ends so many live ones:`,
    loopback(),
  ].join('\n\n')
}

/** net.core.netdev_max_backlog: so many packets wait on one processor for the loopback device. */
const BACKLOG = 1000

/** Set in one moment, on loopback and on one processor: what a tick sends beyond the backlog is lost. */
function loopback() {
  const { idle, interval, count } = planDeadPeerTimeout(ms)
  const endedOf = (size, jitter) => {
    const random = generator(seed)
    const begins = new Array(size).fill(0)
    const idles = begins.map(() => 1000 * Math.round(idle * (1 + jitter * (2 * random() - 1))))
    const limits = { interval: 1000 * interval, count, answered: BACKLOG, until: 12_000 * idle }
    return simulate({ begins, idles, ...limits }).ended.toLocaleString('en')
  }
  const rows = [5000, 10_000, 20_000, 50_000].map((size) => [
    size.toLocaleString('en'),
    ...JITTERS.map((jitter) => endedOf(size, jitter)),
  ])
  return table(['connections', ...JITTERS.map(inPercent)], rows, 'rrrr')
}

/** Probes that this namespace has sent. */
function counted() {
  const lines = readFileSync('/proc/net/netstat', 'latin1').split('\n')
  const at = lines.findIndex((line) => line.startsWith('TcpExt:'))
  const column = lines[at].split(' ').indexOf('TCPKeepAlive')
  return Number(lines[at + 1].split(' ')[column])
}

const [COUNT, SPREAD] = [5000, 20_000]

/** Real connections, made evenly, beside the simulation of the same. */
async function beside(port, outage) {
  const { idle, interval, count } = planDeadPeerTimeout(ms)
  const began = performance.now()
  const elapsed = () => performance.now() - began
  const begins = []
  const sockets = []
  for (let i = 0; i < COUNT; i++) {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    setKeepalive(socket, { idle, interval, count })
    sockets.push(socket.on('error', () => {}))
    begins.push(elapsed())
    const ahead = ((i + 1) * SPREAD) / COUNT - begins.at(-1)
    if (ahead > 0) await sleep(ahead)
  }
  const away = [SPREAD + 5000, SPREAD + 5000 + outage]
  const unplugAll = (unplugged) => {
    for (const { _handle } of sockets) native().unplug(_handle.fd, unplugged)
  }
  const until = away[1] + 2.5 * idle * 1000
  const steps = outage === 0 ? [] : [1, 0]
  const seen = []
  let before = counted()
  while (elapsed() < until) {
    await sleep(20)
    const now = counted()
    if (now > before) seen.push([elapsed(), now - before])
    before = now
    const step = 2 - steps.length
    if (steps.length === 0 || elapsed() < away[step]) continue
    unplugAll(steps.shift())
    // On a busy machine that is later than it should be.
    away[step] = elapsed()
  }
  const ended = sockets.filter(({ destroyed }) => destroyed).length
  for (const socket of sockets) socket.destroy()
  const idles = begins.map(() => idle * 1000)
  const model = simulate({ begins, idles, interval: interval * 1000, count, away, until })
  /** What comes within 100 ms is one burst: this process may be late to count it. */
  const bursts = (list) => {
    const all = []
    for (const [at, number] of list) {
      if (at < away[1]) continue
      const latest = all.at(-1)
      if (latest !== undefined && at - latest.at < 100) latest.number += number
      else all.push({ at, number })
    }
    return all.map(({ number }) => number)
  }
  const modelled = [...model.probes].map(([tick, number]) => [tick * TICK, number])
  const title = outage === 0 ? 'nothing happens' : `the network is down for ${outage / 1000} s`
  return [
    ['simulated', modelled, model.ended],
    ['counted by the kernel', seen, ended],
  ].map(([who, list, dead]) => {
    const numbers = bursts(list)
    const sum = numbers.reduce((total, number) => total + number, 0)
    return [title, who, sum, Math.max(...numbers), dead]
  })
}

/** All set in one moment: more probes than the backlog of the loopback device takes. */
async function atOnce(port) {
  const [idle, interval, count] = [5, 1, 4]
  const sockets = []
  let ended = 0
  while (sockets.length < 6000) {
    const some = Array.from({ length: 200 }, () => connect(port, '127.0.0.1'))
    for (const socket of some) socket.on('error', () => ended++)
    await Promise.all(some.map((socket) => once(socket, 'connect')))
    sockets.push(...some)
  }
  const before = counted()
  for (const socket of sockets) setKeepalive(socket.resume(), { idle, interval, count })
  const until = 14_000
  await sleep(until)
  const idles = sockets.map(() => idle * 1000)
  const limits = { interval: interval * 1000, count, answered: BACKLOG, until }
  const model = simulate({ begins: idles.map(() => 0), idles, ...limits })
  const sent = [...model.probes.values()].reduce((sum, each) => sum + each, 0)
  const title = '6,000, set in one moment to 5, 1, 4'
  return [
    [title, 'simulated', sent, Math.max(...model.probes.values()), model.ended],
    [title, 'counted by the kernel', counted() - before, '–', ended],
  ]
}

async function real() {
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
  const server = createServer((socket) => socket.resume().on('error', () => {}))
  server.listen({ port: 0, backlog: 4096 })
  await once(server, 'listening')
  const { port } = server.address()
  const { interval, count } = planDeadPeerTimeout(ms)
  const rows = []
  for (const outage of [0, interval * 1000 * (count - 1)])
    rows.push(...(await beside(port, outage)))
  rows.push(...(await atOnce(port)))
  return [
    `${COUNT.toLocaleString('en')} real connections, opened within ${SPREAD / 1000} s; probes within 100 ms, afterwards:`,
    table(['', '', 'probes', 'most at once', 'ended'], rows, 'llrrr'),
  ].join('\n\n')
}

if (values.real) {
  if (insideNamespace()) {
    console.log(await real())
    process.exit()
  }
} else {
  const text = simulation()
  console.log(text)
  if (values.write) writePart('docs/scale.md', 'probes', text)
}
