#!/usr/bin/env node
/**
 * `npm run test:clients [-- FAMILY ...]`: real drivers against real servers, with tcp-keepalive/register
 * alone, through each driver's own option, and without this library. A family is a file of
 * drivers/. Linux only.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { planDeadPeerTimeout } from '../../dist/index.js'
import { missing, SERVERS, startServers } from './servers.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const register = join(here, '..', '..', 'dist', 'register.js')
const MS = 4000
/** A connection must not outlive its peer by more. */
const LIMIT = MS + 1000
/** Longer than the dead-peer time, or it would show nothing. */
const LOAD = LIMIT + 1000

const families = readdirSync(join(here, 'drivers')).map((file) => file.replace('.mjs', ''))
const asked = process.argv.slice(2)
const unknown = asked.find((name) => !families.includes(name))
if (unknown !== undefined) {
  process.stderr.write(`test:clients: no family "${unknown}". There are: ${families.join(', ')}\n`)
  process.exit(1)
}
const chosen = asked.length > 0 ? asked : families

/** The servers that the chosen drivers need; those that Node itself is are not among them. */
const needed = new Set()
for (const family of chosen) {
  const { drivers } = await import(`./drivers/${family}.mjs`)
  for (const { server } of Object.values(drivers)) if (server in SERVERS) needed.add(server)
}

const absent = missing(needed)
if (absent.length > 0) {
  process.stderr.write(
    `test:clients: these servers are missing: ${absent.join(', ')}. As root:\n` +
      `  apt-get install --no-install-recommends ${absent.join(' ')}\n`,
  )
  process.exit(1)
}

async function runFamily(family, way, ports) {
  const required = way === 'register' ? ['--require', register] : []
  const { scope = 'client' } = await import(`./drivers/${family}.mjs`)
  const options = { family, way, ms: MS, wait: LIMIT + 1500, load: LOAD, ports }
  const child = spawn(
    process.execPath,
    [...required, join(here, 'family.mjs'), JSON.stringify(options)],
    {
      env: {
        ...process.env,
        ...(way === 'register' && {
          TCP_KEEPALIVE_DEAD_PEER_MS: String(MS),
          TCP_KEEPALIVE_SCOPE: scope,
        }),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 120_000,
      killSignal: 'SIGKILL',
    },
  )
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`the drivers of ${family} (${way}) ended with ${signal ?? code}`)
  // Some drivers print, too.
  return JSON.parse(stdout.slice(stdout.lastIndexOf('\n')))
}

const { idle, interval, count, userTimeout } = planDeadPeerTimeout(MS)
const OURS = JSON.stringify({ enabled: true, idle, interval, count, userTimeout })
const problems = []
const check = (name, way, what, holds, seen) => {
  if (!holds) problems.push(`${name} (${way}): ${what}: ${JSON.stringify(seen)}`)
  return holds
}

/** What must hold where the driver's sockets are set. */
function checkSet(name, way, { options = [], optionsAfter = [], load, flight, quiet }, pause) {
  const ours = [...options, ...optionsAfter].every((each) => JSON.stringify(each) === OURS)
  check(name, way, 'the options are ours', options.length > 0 && ours, options)
  if (load === undefined) return
  check(
    name,
    way,
    'under load',
    load.queries > 0 && load.connections > 0 && load.gone.length === 0,
    load,
  )
  const within = LIMIT + (pause ?? 0)
  const reported = (died) =>
    died?.length > 0 && died.every(({ after, deadPeer }) => after <= within && deadPeer)
  check(name, way, 'in flight, the sockets', reported(flight.died), flight)
  check(name, way, 'in flight, the promise', flight.outcome?.after <= within, flight)
  check(name, way, 'idle, the sockets', reported(quiet.died), quiet)
  check(name, way, 'idle, the next query is not stuck', quiet.next !== undefined, quiet)
}

/** The control: it must still hang, or the test shows nothing. */
function checkUnset(name, { options = [], load, flight, quiet }) {
  const way = 'without'
  const ours = options.some((each) => JSON.stringify(each) === OURS)
  check(name, way, 'the options are not ours', options.length > 0 && !ours, options)
  if (load === undefined) return
  check(
    name,
    way,
    'under load',
    load.queries > 0 && load.connections > 0 && load.gone.length === 0,
    load,
  )
  check(name, way, 'in flight, it hangs', flight.failed === undefined && !flight.outcome, flight)
  const hangs = quiet.died?.length > 0 && quiet.died.every(({ after }) => after === undefined)
  check(name, way, 'idle, it hangs', hangs, quiet)
}

/** A story ends as its driver says; without the library it must not end by itself. */
function checkStory(name, way, { story, expects }) {
  const expected = way === 'without' ? 'stuck' : expects
  const { outcome } = story
  const words = outcome === undefined ? 'stuck' : outcome.resolved ? outcome.value : 'rejects'
  check(
    name,
    way,
    `${expected} was expected`,
    story.failed === undefined && words === expected,
    story,
  )
  // Stuck although its connection has died, and not because it never went silent.
  if (way === 'register' && expected === 'stuck') check(name, way, 'it died', story.died, story)
}

const seconds = (ms) => (ms === undefined ? '—' : `${(ms / 1000).toFixed(1)} s`)
const outcomeOf = (result) =>
  result === undefined ? 'stuck' : result.resolved ? 'resolves' : `rejects, ${result.error}`
const asDeadPeer = (result) =>
  result === undefined || result.resolved ? '' : result.deadPeer ? 'yes' : 'no'

const leftUncaught = (drivers) => drivers.flatMap(({ uncaught }) => uncaught ?? []).sort()

async function tryFamily(family, ports) {
  const { drivers } = await import(`./drivers/${family}.mjs`)
  const ways = {}
  for (const way of ['register', 'option', 'without']) {
    ways[way] = await runFamily(family, way, ports)
    for (const [name, result] of Object.entries(ways[way].results)) {
      if (result.expects !== undefined) checkStory(name, way, result)
      else if (way === 'without') checkUnset(name, result)
      else checkSet(name, way, result, drivers[name].pause)
    }
    // Of the stories, which run in two of the ways; without the library nothing comes of them.
    const expected = way === 'register' ? leftUncaught(Object.values(drivers)) : []
    const uncaught = ways[way].uncaught.sort()
    const same = JSON.stringify(uncaught) === JSON.stringify(expected)
    check(family, way, `uncaught exceptions: ${expected.length} expected`, same, uncaught)
  }
  process.stdout.write(`\n${family}\n\n${HEAD}`)
  for (const name of Object.keys(ways.without.results)) {
    for (const way of Object.keys(ways)) {
      const result = ways[way].results[name]
      if (result !== undefined) process.stdout.write(`${row(name, way, result)}\n`)
    }
  }
}

const HEAD =
  '| driver | way | in flight | the promise | isDeadPeerError | idle | the next query | the driver emits | queries under load |\n|---|---|---|---|---|---|---|---|---|\n'

function row(name, way, result) {
  if (result.expects !== undefined) {
    const { outcome } = result.story
    const words = outcome?.resolved ? outcome.value : outcomeOf(outcome)
    return `| ${name} | ${way} | ${seconds(outcome?.after)} | ${words} | ${asDeadPeer(outcome)} |`
  }
  if (result.load === undefined) {
    const [first] = result.options
    return `| ${name} | ${way} | the options alone: ${JSON.stringify(first)} |`
  }
  const { load, flight, quiet } = result
  const emitted = [...new Set([...(flight.emitted ?? []), ...(quiet.emitted ?? [])])].join('; ')
  return `| ${name} | ${way} | ${seconds(flight.outcome?.after)} | ${outcomeOf(flight.outcome)} | ${asDeadPeer(flight.outcome)} | ${seconds(quiet.died?.[0]?.after)} | ${outcomeOf(quiet.next)} | ${emitted} | ${load.queries} |`
}

const start = Date.now()
const { ports, stop } = await startServers(needed)
try {
  process.stdout.write(
    `servers up after ${seconds(Date.now() - start)}: ${JSON.stringify(ports)}\n`,
  )
  // Two at a time: they mostly wait, and more would be late.
  const waiting = [...chosen]
  const next = async () => {
    for (let family = waiting.shift(); family; family = waiting.shift()) {
      await tryFamily(family, ports)
    }
  }
  await Promise.all([next(), next()])
  process.stdout.write(`\n${seconds(Date.now() - start)} in all\n`)
} finally {
  await stop()
}
for (const problem of problems) process.stderr.write(`NOT OK ${problem}\n`)
process.exitCode = problems.length === 0 ? 0 : 1
