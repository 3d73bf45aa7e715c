#!/usr/bin/env node
/**
 * `npm run test:clients`: real drivers against real servers, with tcp-keepalive/register
 * alone, through each driver's own door, and without this library. Linux only.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { planDeadPeerTimeout } from '../../dist/index.js'
import { missing, startServers } from './servers.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const register = join(here, '..', '..', 'dist', 'register.js')
const MS = 4000
/** A connection must not outlive its peer by more. */
const LIMIT = MS + 1000
/** Longer than the dead-peer time, or it would show nothing. */
const LOAD = LIMIT + 1000

const absent = missing()
if (absent.length > 0) {
  process.stderr.write(
    `test:clients: these servers are missing: ${absent.join(', ')}. As root:\n` +
      `  apt-get install --no-install-recommends ${absent.join(' ')}\n`,
  )
  process.exit(1)
}

async function runWay(way, ports) {
  const required = way === 'register' ? ['--require', register] : []
  const options = { way, ms: MS, wait: LIMIT + 1500, load: LOAD, ports }
  const child = spawn(
    process.execPath,
    [...required, join(here, 'one.mjs'), JSON.stringify(options)],
    {
      env: {
        ...process.env,
        ...(way === 'register' && { TCP_KEEPALIVE_DEAD_PEER_MS: String(MS) }),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 60_000,
      killSignal: 'SIGKILL',
    },
  )
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`the drivers (${way}) ended with ${signal ?? code}`)
  return JSON.parse(stdout)
}

const { idle, interval, count, userTimeout } = planDeadPeerTimeout(MS)
const OURS = JSON.stringify({ enabled: true, idle, interval, count, userTimeout })
const problems = []
const check = (name, way, what, holds, seen) => {
  if (!holds) problems.push(`${name} (${way}): ${what}: ${JSON.stringify(seen)}`)
  return holds
}

/** What must hold where the driver's sockets are set. */
function checkSet(name, way, { options = [], optionsAfter = [], load, flight, quiet }) {
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
  const told = (died) =>
    died?.length > 0 && died.every(({ after, deadPeer }) => after <= LIMIT && deadPeer)
  check(name, way, 'in flight, the sockets', told(flight.died), flight)
  check(name, way, 'in flight, the promise', flight.outcome?.after <= LIMIT, flight)
  check(name, way, 'idle, the sockets', told(quiet.died), quiet)
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

const seconds = (ms) => (ms === undefined ? '—' : `${(ms / 1000).toFixed(1)} s`)
const outcome = (result) =>
  result === undefined ? 'stuck' : result.resolved ? 'resolves' : `rejects, ${result.error}`
const asDeadPeer = (result) =>
  result === undefined || result.resolved ? '' : result.deadPeer ? 'yes' : 'no'

const start = Date.now()
const { ports, stop } = await startServers()
try {
  process.stdout.write(
    `servers up after ${seconds(Date.now() - start)}: ${JSON.stringify(ports)}\n`,
  )
  const ways = {}
  for (const way of ['register', 'door', 'without']) {
    ways[way] = await runWay(way, ports)
    for (const [name, result] of Object.entries(ways[way].results)) {
      if (way === 'without') checkUnset(name, result)
      else checkSet(name, way, result)
    }
    check(
      'all',
      way,
      'nothing is thrown at nobody',
      ways[way].uncaught.length === 0,
      ways[way].uncaught,
    )
  }
  process.stdout.write(
    '\n| driver | way | in flight | the promise | isDeadPeerError | idle | the next query | the driver emits | queries under load |\n|---|---|---|---|---|---|---|---|---|\n',
  )
  for (const name of Object.keys(ways.without.results)) {
    for (const way of Object.keys(ways)) {
      const result = ways[way].results[name]
      if (result === undefined) continue
      if (result.load === undefined) {
        const [first] = result.options
        process.stdout.write(`| ${name} | ${way} | the options alone: ${JSON.stringify(first)} |\n`)
        continue
      }
      const { load, flight, quiet } = result
      const emitted = [...new Set([...(flight.told ?? []), ...(quiet.told ?? [])])].join('; ')
      process.stdout.write(
        `| ${name} | ${way} | ${seconds(flight.outcome?.after)} | ${outcome(flight.outcome)} | ${asDeadPeer(flight.outcome)} | ${seconds(quiet.died?.[0]?.after)} | ${outcome(quiet.next)} | ${emitted} | ${load.queries} |\n`,
      )
    }
  }
  process.stdout.write(`\n${seconds(Date.now() - start)} in all\n`)
} finally {
  await stop()
}
for (const problem of problems) process.stderr.write(`NOT OK ${problem}\n`)
process.exitCode = problems.length === 0 ? 0 : 1
