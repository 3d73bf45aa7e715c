// npm run lab -- bench [--quick]: measures, prints one table, and writes docs/benchmarks.md and
// docs/benchmarks.svg. NODE26 may name a Node 26 binary; otherwise npx fetches one.
//
// Every figure is of a process of its own, those of one run in turn, and is compared with
// what was measured in the same run: whatever else the machine does meets both.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { folderOf, installAlternatives } from '../alternatives/index.mjs'
import { median } from '../support/median.mjs'
import { findNode, versionOf } from '../support/node.mjs'
import { report } from './report.mjs'

const here = import.meta.dirname
const root = join(here, '../..')
const quick = process.argv.includes('--quick')
const RUNS = quick ? 1 : 5
const began = loadavg()[0]
installAlternatives()
const work = mkdtempSync(join(tmpdir(), 'tcp-keepalive-bench-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))
const floor = join(work, 'floor')
execFileSync('cc', ['-O2', '-pthread', '-o', floor, join(here, 'floor.c')])
const syscalls = join(work, 'syscalls.so')
execFileSync('cc', ['-O2', '-shared', '-fPIC', '-o', syscalls, join(here, 'syscalls.c'), '-ldl'])

const say = (text) => process.stderr.write(`${text}\n`)
function json(file, args, more = {}) {
  const env = { ...process.env, ...more }
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', cwd: here, env })
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
  return JSON.parse(stdout)
}
const node = (...args) => json(process.execPath, args)

const node26 = findNode(26)

/** One list of samples per name. */
const samples = new Map()
function add(name, value) {
  if (typeof value !== 'number' || Number.isNaN(value)) return
  if (!samples.has(name)) samples.set(name, [])
  samples.get(name).push(value)
}
function addAll(prefix, values) {
  for (const [name, value] of Object.entries(values)) add(`${prefix} ${name}`, value)
}

/** A program that prints its port and goes on. */
async function helper(mode) {
  const child = spawn(floor, [mode], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [data] = await once(child.stdout, 'data')
  return { port: String(data).trim(), stop: () => child.kill() }
}

// ---------------------------------------------------------------- calls

const subjects = ['tcp-keepalive', 'node', 'sockopt', 'net-keepalive']
const subjects26 = ['tcp-keepalive', 'node, 4 arguments', 'node:ffi']
const broken = new Set()

function calls() {
  const base = { ...json(floor, ['calls']), ...json(floor, ['fresh', '2000']) }
  base.firstDeadPeer = base.first + base.setDeadPeerTimeout - base.setKeepalive
  addAll('floor', base)
  const measure = (label, file, args) => {
    if (broken.has(label)) return
    try {
      const answer = json(file, args)
      addAll(label, answer)
      for (const [name, value] of Object.entries(answer)) {
        add(`${label} ${name} ×`, value / base[name])
        add(`${label} ${name} +`, value - base[name])
      }
    } catch (error) {
      broken.add(label)
      say(`${label} is left out: ${String(error).split('\n')[0]}`)
    }
  }
  for (const subject of subjects) measure(subject, process.execPath, ['calls.mjs', subject])
  if (node26 === undefined) return
  for (const subject of subjects26) {
    const flags = ['--no-warnings', '--experimental-ffi']
    measure(`${subject} (Node 26)`, node26, [...flags, 'calls.mjs', subject])
  }
}

// ---------------------------------------------------------------- accepting

const VISITS = quick ? 4000 : 8000

async function accept(way) {
  const child = spawn(process.execPath, ['accept.mjs', way], {
    cwd: here,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const [{ port }] = await once(child, 'message')
  const visit = async (count) => {
    child.send({ expect: count })
    await once(child, 'message')
    const client = spawn(floor, ['visit', String(port), String(count)], { stdio: 'inherit' })
    const [[{ microseconds }]] = await Promise.all([once(child, 'message'), once(client, 'exit')])
    return microseconds
  }
  await visit(2000)
  const microseconds = await visit(VISITS)
  child.disconnect()
  await once(child, 'exit')
  return microseconds
}

async function accepting() {
  const ways = ['none', 'setKeepalive', 'setDeadPeerTimeout']
  const answers = {}
  for (const way of ways) answers[way] = await accept(way)
  for (const way of ways) {
    add(`accept ${way}`, answers[way])
    if (way !== 'none') add(`accept ${way} +`, answers[way] - answers.none)
  }
}

/** System calls of a set server per connection, by strace; undefined without it. */
async function acceptCalls(way) {
  const trace = join(work, 'trace')
  const args = ['-f', '-c', '-o', trace, '-e', 'trace=setsockopt,epoll_ctl', process.execPath]
  const child = spawn('strace', [...args, 'accept.mjs', way], {
    cwd: here,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  child.on('error', () => {})
  if (child.pid === undefined) return undefined
  const [{ port }] = await once(child, 'message')
  child.send({ expect: 500 })
  await once(child, 'message')
  const client = spawn(floor, ['visit', String(port), '500'], { stdio: 'inherit' })
  await Promise.all([once(child, 'message'), once(client, 'exit')])
  child.disconnect()
  await once(child, 'exit')
  const counts = { setsockopt: 0, epoll_ctl: 0 }
  for (const line of readFileSync(trace, 'utf8').split('\n')) {
    const [, , , number, ...rest] = line.trim().split(/\s+/)
    const name = rest.at(-1)
    if (name in counts) counts[name] = Number(number)
  }
  return counts
}

// ---------------------------------------------------------------- connecting

const register = join(root, 'dist', 'register.js')

/** Between two processes the rate differs by several hundredths, whatever they do. */
const ROUNDS = quick ? 1 : 3

async function connecting() {
  const { port, stop } = await helper('serve')
  for (let i = 0; i < ROUNDS; i++) connectingRound(port)
  stop()
}

function connectingRound(port) {
  const without = node('request.mjs', port)
  const with_ = node('--require', register, 'request.mjs', port)
  const bare = json(process.execPath, ['request.mjs', port], { LD_PRELOAD: syscalls })
  const again = node('request.mjs', port)
  const perSecond = (without.perSecond + again.perSecond) / 2
  const microseconds = (without.microseconds + again.microseconds) / 2
  add('connect without', perSecond)
  add('connect register', with_.perSecond)
  add('connect register ×', with_.perSecond / perSecond)
  add('connect without µs', microseconds)
  add('connect register +', with_.microseconds - microseconds)
  add('connect syscalls ×', bare.perSecond / perSecond)
  add('connect syscalls +', bare.microseconds - microseconds)
}

// ---------------------------------------------------------------- loading

const app = join(work, 'app')
/** Each does one thing as it starts. */
const programs = join(here, 'programs')
function install() {
  const installed = join(app, 'node_modules', 'tcp-keepalive')
  mkdirSync(join(installed, 'build'), { recursive: true })
  for (const part of ['package.json', 'dist']) {
    cpSync(join(root, part), join(installed, part), { recursive: true })
  }
  cpSync(join(root, 'build', 'Release'), join(installed, 'build', 'Release'), { recursive: true })
  const finder = join('node_modules', 'node-gyp-build')
  cpSync(join(root, finder), join(app, finder), { recursive: true })
  cpSync(join(programs, 'empty'), join(app, 'node_modules', 'empty'), { recursive: true })
  for (const name of ['net-keepalive', 'ffi-rs', '@yuuang']) {
    const from = folderOf(name)
    if (existsSync(from)) cpSync(from, join(app, 'node_modules', name), { recursive: true })
  }
  const files = readdirSync(programs).filter((name) => /\.[cm]js$/.test(name))
  for (const name of files) cpSync(join(programs, name), join(app, name))
  return files.filter((name) => name !== 'mapped.cjs')
}

const STARTS = 15
function start(names) {
  const times = new Map(names.map((name) => [name, []]))
  for (let i = 0; i < STARTS; i++) {
    for (const name of names) {
      const from = process.hrtime.bigint()
      const { status } = spawnSync(process.execPath, [join(app, name)], { stdio: 'ignore' })
      if (status === 0) times.get(name).push(Number(process.hrtime.bigint() - from) / 1e6)
    }
  }
  for (const name of names) {
    const own = times.get(name)
    const plain = name.includes('with net') ? `net${name.slice(-4)}` : `nothing${name.slice(-4)}`
    const base = times.get(name === 'used.cjs' ? 'unused.cjs' : plain)
    add(`start ${name}`, median(own))
    // In pairs, one after the other: the machine's speed drifts.
    add(`start ${name} +`, median(own.map((time, i) => time - base[i])))
  }
}

// ---------------------------------------------------------------- all of it

const starting = install()
const mapped = spawnSync(process.execPath, [join(app, 'mapped.cjs')], { encoding: 'utf8' })
const broke = []
async function attempt(name, action) {
  try {
    await action()
  } catch (error) {
    broke.push(`${name}: ${String(error).split('\n')[0]}`)
    say(broke.at(-1))
  }
}
for (let run = 1; run <= RUNS; run++) {
  say(`run ${run} of ${RUNS}: calls`)
  await attempt('calls', calls)
  say('  accepting, connecting, loading')
  await attempt('accepting', accepting)
  await attempt('connecting', connecting)
  await attempt('loading', () => start(starting))
  await attempt('growth', () => addAll('growth', node('growth.mjs')))
}
const counts = { none: undefined, setKeepalive: undefined }
for (const way of Object.keys(counts)) {
  await attempt('strace', async () => {
    counts[way] = await acceptCalls(way)
  })
}

const { text, chart } = report({
  samples,
  counts,
  broke: [...new Set(broke)],
  runs: RUNS,
  load: [began, loadavg()[0]],
  nativeAtLoad: mapped.stdout.trim() === 'true',
  machine: {
    cpu: cpus()[0]?.model ?? 'unknown processor',
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    kernel: `Linux ${release().split('-')[0]}`,
    node: process.version,
    node26: node26 && versionOf(node26),
  },
})
console.log(text)
if (!quick) {
  const file = join(root, 'docs', 'benchmarks.md')
  // What people have written below the figures stays.
  const MARK = '<!-- what follows is written by hand -->'
  const earlier = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const byHand = earlier.includes(MARK) ? earlier.slice(earlier.indexOf(MARK)) : `${MARK}\n`
  writeFileSync(file, `${text}\n${byHand}`)
  writeFileSync(join(root, 'docs', 'benchmarks.svg'), chart)
}
