// What a gateway pays for setDeadPeerTimeout(server, ms): npm run lab -- gateway
//   --quick       1,000 connections for a few seconds; nothing is written
//   --only NAMES  of: time, slow, deaths, memory, kernel; nothing is written
//   --connections 1000,9500  for time; nothing is written
//
// Two servers at a time, one with the library and one without, each with as many connections
// from a process of its own, are measured over the same seconds: what other processes do to the
// processor they do to both. `ulimit -n` decides how many connections there are.
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { nextLook } from '../../dist/connection/liveness.js'
import { planDeadPeerTimeout } from '../../dist/index.js'
import { SWEEP_PERIOD } from '../../dist/kernel/rules.js'
import { insideNamespace } from '../support/namespace.mjs'
import { writePart } from '../support/part.mjs'
import { table } from '../support/words.mjs'

class Child {
  constructor(program, ...parameters) {
    const file = join(import.meta.dirname, program)
    this.process = fork(file, parameters.map(String), { execArgv: ['--no-warnings'] })
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

/** A server with its connections; `before` is set before they come. */
async function gateway(address, count, { before } = {}) {
  const measured = new Child('server.mjs', address)
  const port = await measured.ready
  await measured.ask('warm')
  if (before !== undefined) await measured.ask('set', before)
  const others = new Child('peers.mjs', address, port, count)
  await others.ready
  while ((await measured.ask('count')) < count) await sleep(50)
  return { measured, others, end: () => Promise.all([measured.end(), others.end()]) }
}

const ADDRESSES = ['127.1.0.1', '127.2.0.1']
const two = (count) => Promise.all(ADDRESSES.map((address) => gateway(address, count)))
const thousands = (number) => number.toLocaleString('en')
const inSeconds = (ms) => `${ms / 1000} s`

/** How often the sweep looks at a connection on which nothing happens. */
function lookPeriod(ms) {
  const period = nextLook(planDeadPeerTimeout(ms).silence)
  return (Math.floor(period / SWEEP_PERIOD) + 1) * SWEEP_PERIOD
}

/** Both for the same time, which is whole periods of the sweep: the difference is the library's. */
async function compare([plain, set], count, what, ms, atLeast) {
  await set.measured.ask('set', { ms })
  const period = lookPeriod(ms)
  // The first look is another's.
  await sleep(period + 1000)
  // What the collector would do by itself meanwhile is not the library's.
  await Promise.all([plain, set].map(({ measured }) => measured.ask('memory')))
  const time = { ms: period * Math.max(2, Math.ceil(atLeast / period)) }
  const [without, having] = await Promise.all([
    plain.measured.ask('measure', time),
    set.measured.ask('measure', time),
  ])
  const figures = [without.percent, having.percent, having.percent - without.percent]
  const ended = await set.measured.ask('ended')
  if (ended > 0) throw new Error(`${ended} live connections of ${count} were ended.`)
  const delays = [without, having].map(({ delay }) => `${delay.toFixed(0)} ms`)
  const row = [
    thousands(count),
    what,
    inSeconds(ms),
    ...figures.map((each) => each.toFixed(2)),
    ...delays,
  ]
  console.error(row.join('  '))
  return row
}

const HEAD = ['connections', 'what they do', '`ms`', 'without', 'with', 'more']

async function time({ counts, times, atLeast }) {
  const rows = []
  for (const count of counts) {
    const both = await two(count)
    for (const ms of times) rows.push(await compare(both, count, 'nothing', ms, atLeast))
    await Promise.all(both.map(({ others }) => others.ask('talk')))
    const what = 'a tenth sends a message each second'
    rows.push(await compare(both, count, what, 60_000, atLeast))
    await Promise.all(both.map(({ end }) => end()))
  }
  return rows
}

async function slow({ counts, atLeast }) {
  // 4 MB in each of ten thousand connections is more than the machine has.
  for (const [name, most] of Object.entries({ rmem: 8192, wmem: 16_384 })) {
    writeFileSync(`/proc/sys/net/ipv4/tcp_${name}`, `4096 ${most} ${most}`)
  }
  const rows = []
  for (const count of counts) {
    const both = await two(count)
    await Promise.all(both.map(({ others }) => others.ask('pause')))
    await Promise.all(both.map(({ measured }) => measured.ask('fill')))
    await sleep(10_000)
    rows.push(await compare(both, count, 'all are slow readers', 60_000, atLeast))
    await Promise.all(both.map(({ end }) => end()))
  }
  return rows
}

async function deaths({ count, times }) {
  const rows = []
  for (const ms of times) {
    const { measured, end } = await gateway(ADDRESSES[0], count, { before: { ms } })
    await sleep(Math.min(3000, ms / 4))
    const ends = await measured.ask('die', { part: 0.05 })
    const after = ends.map((each) => each.after / 1000).sort((a, b) => a - b)
    const timedOut = ends.filter(({ code }) => code === 'ETIMEDOUT').length
    const chosen = [0, after.length >> 1, after.length - 1].map(
      (nth) => `${after[nth].toFixed(1)} s`,
    )
    const promised = inSeconds(ms + 1000)
    rows.push([thousands(count), inSeconds(ms), ends.length, timedOut, ...chosen, promised])
    console.error(rows.at(-1).join('  '))
    await end()
  }
  const head = ['connections', '`ms`', 'die', 'ETIMEDOUT', 'first', 'median', 'last', 'promised']
  return table(head, rows, 'rrrrrrrr')
}

const WAYS = {
  setKeepalive: { keepalive: { idle: 60, interval: 10, count: 3 } },
  setUserTimeout: { userTimeout: 60_000 },
  setDeadPeerTimeout: { ms: 60_000 },
}

async function memory({ count }) {
  const settled = async (measured) => {
    // Past the first look.
    await sleep(lookPeriod(60_000) + 1000)
    return (await measured.ask('memory')).heapUsed
  }
  const accepted = async (settings, later) => {
    const { measured, end } = await gateway(ADDRESSES[0], count, { before: settings })
    if (later !== undefined) await measured.ask('set', later)
    const heap = await settled(measured)
    await end()
    return heap
  }
  const outgoing = async (settings) => {
    const others = new Child('peers.mjs', ADDRESSES[0])
    const measured = new Child('server.mjs', ADDRESSES[1])
    const port = await others.ready
    await measured.ready
    await measured.ask('warm')
    await measured.ask('dial', { port, address: ADDRESSES[0], count, settings })
    const heap = await settled(measured)
    await Promise.all([measured.end(), others.end()])
    return heap
  }
  const none = { accepted: await accepted(), outgoing: await outgoing() }
  const rows = []
  for (const [name, settings] of Object.entries(WAYS)) {
    const differences = [
      (await accepted(settings)) - none.accepted,
      (await accepted(undefined, settings)) - none.accepted,
      (await outgoing(settings)) - none.outgoing,
    ]
    rows.push([`\`${name}\``, ...differences.map((each) => Math.round(each / count))])
    console.error(rows.at(-1).join('  '))
  }
  return table(
    ['', 'accepted by a server that is set', 'accepted, set itself', 'outgoing'],
    rows,
    'lrrr',
  )
}

/** The kernel's objects that are in use, by kind; undefined where that is root's to read. */
function slabs() {
  try {
    const lines = readFileSync('/proc/slabinfo', 'utf8').split('\n').slice(2)
    const cells = lines.filter(Boolean).map((line) => line.split(/\s+/))
    return new Map(cells.map(([name, used, , size]) => [name, { used: +used, size: +size }]))
  } catch {
    return undefined
  }
}

async function kernel({ count }) {
  if (slabs() === undefined) return '/proc/slabinfo was not to be read.'
  const looks = [slabs()]
  const { measured, end } = await gateway(ADDRESSES[0], count)
  looks.push(slabs())
  await measured.ask('set', { keepalive: { idle: 600, interval: 10, count: 3 } })
  looks.push(slabs())
  await end()
  const rows = []
  for (const [name, { size }] of looks[0]) {
    const more = [1, 2].map((nth) => looks[nth].get(name).used - looks[nth - 1].get(name).used)
    if (name.startsWith('tw_sock')) continue
    // Both ends are here, and one of them is set; what others do here is noise.
    const [connected, set] = [more[0] / count / 2, more[1] / count]
    if (connected < 0.3 && set < 0.3) continue
    const cell = (each) => (each < 0.3 ? '–' : `${each.toFixed(1)} × ${size} bytes`)
    rows.push([`\`${name}\``, cell(connected), cell(set)])
  }
  return table(['kind', 'a connected socket', 'keepalive on, and watched: more'], rows, 'lrr')
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    only: { type: 'string' },
    connections: { type: 'string' },
  },
})

async function main() {
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
  const { quick, only, connections } = values
  const wanted = (part) => only === undefined || only.split(',').includes(part)
  const chosen = connections?.split(',').map(Number)
  const counts = chosen ?? (quick ? [1000] : [1000, 5000, 9500, 19_000])
  const times = [10_000, 60_000, ...(quick ? [] : [300_000])]
  const atLeast = quick ? 4000 : 18_000
  const count = quick ? 1000 : 9500
  const model = cpus()[0]?.model ?? 'unknown processor'
  const load = () => loadavg()[0].toFixed(1)
  const loads = [load()]
  const texts = []
  const rows = []
  if (wanted('time')) rows.push(...(await time({ counts, times, atLeast })))
  if (wanted('kernel'))
    texts.push('Kernel memory per socket:', await kernel({ count: counts.at(-1) }))
  if (wanted('memory')) {
    texts.push(
      `JavaScript heap per connection, in bytes more than without the library, with ${thousands(count)} connections:`,
      await memory({ count }),
    )
  }
  if (wanted('deaths')) {
    texts.push(
      'One peer in twenty goes silent, all at once, with a byte in flight to each:',
      await deaths({ count, times: quick ? [5000] : [10_000, 60_000] }),
    )
  }
  // Last: what is set in the namespace stays.
  if (wanted('slow'))
    rows.push(...(await slow({ counts: [1000, ...(quick ? [] : [9500])], atLeast })))
  loads.push(load())
  const text = [
    `\`npm run lab -- gateway\` on ${model}, ${cpus().length} cores, Linux ${release().split('-')[0]}, Node ${process.version}; the load average was ${loads.join(' when it began, ')} when it ended.`,
    ...(rows.length === 0 ? [] : ['Percent of one core, and the longest delay of the event loop:']),
    ...(rows.length === 0 ? [] : [table([...HEAD, 'longest delay', 'with'], rows, 'rlrrrrrr')]),
    ...texts,
  ].join('\n\n')
  console.log(text)
  if (!quick && only === undefined && chosen === undefined)
    writePart('docs/scale.md', 'gateway', text)
}
if (insideNamespace()) await main()
