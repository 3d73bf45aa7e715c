// Runs batches: each in a process and a network namespace of its own.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const TOGETHER = 7
const TOO_LONG_MS = 90_000

/** Ways to run a program: without the library, and with it in two kinds of settings. */
const REGISTER = ['--require', here('../../dist/register.js')]
export const WAYS = {
  plain: { flags: [], env: {} },
  // The same deaths, without the library.
  'kernel alone': { flags: ['--require', here('kernel-alone.cjs')], env: {} },
  // The library concludes: keepalive, user timeout, sweep.
  'dead-peer timeout': {
    flags: REGISTER,
    env: { TCP_KEEPALIVE_DEAD_PEER_MS: '3000', TCP_KEEPALIVE_SCOPE: 'all' },
  },
  // The kernel alone concludes, and the watcher speaks of it.
  'keepalive, user timeout': {
    flags: REGISTER,
    env: {
      TCP_KEEPALIVE_IDLE_S: '1',
      TCP_KEEPALIVE_INTERVAL_S: '1',
      TCP_KEEPALIVE_COUNT: '3',
      TCP_KEEPALIVE_USER_TIMEOUT_MS: '3000',
      TCP_KEEPALIVE_SCOPE: 'all',
    },
  },
}

const NAMESPACE = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net']
export const hasNamespaces =
  spawnSync('unshare', [...NAMESPACE, 'sh', here('ground.sh'), 'two-hosts', 'true']).status === 0

const scratch = mkdtempSync(join(tmpdir(), 'differences-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const KEY = join(scratch, 'key.pem')
const CERT = join(scratch, 'cert.pem')
const made = spawnSync('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
  ...['-keyout', KEY, '-out', CERT, '-days', '2', '-subj', '/CN=peer'],
  ...['-addext', 'subjectAltName=IP:127.0.0.1,IP:10.77.0.2'],
])
export const hasTls = made.status === 0

/** At most so many batches run at once. */
const waiting = []
let free = TOGETHER
async function turn(work) {
  if (free > 0) free--
  else await new Promise((resolve) => waiting.push(resolve))
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
}

/** The outcome of each cell, in order. All cells are of the same ground. */
export async function runBatch(node, way, cells) {
  const { outcomes, strays, problem } = await turn(() => runOnce(node, way, cells))
  if (strays?.length === 0) return outcomes
  // Whose exception, whose end of the process was it? Each by itself.
  if (cells.length > 1) {
    return (await Promise.all(cells.map((cell) => runBatch(node, way, [cell])))).flat()
  }
  return [{ log: [], writes: [], bytes: 0, ended: true, problem: problem ?? strays.join('; ') }]
}

async function runOnce(node, way, cells) {
  const { flags, env } = WAYS[way]
  const ground = cells[0].buffers
  const twoHosts = ground === 'two-hosts'
  const inside = hasNamespaces
    ? ['unshare', ...NAMESPACE, '--kill-child', 'sh', here('ground.sh'), ground]
    : []
  const [command, ...args] = [...inside, node, ...flags, here('subject.mjs')]
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: TOO_LONG_MS,
    killSignal: 'SIGKILL',
    env: {
      ...inherited,
      ...env,
      ...(hasTls ? { KEY, CERT, NODE_EXTRA_CA_CERTS: CERT } : {}),
      SUBJECT_HOST: twoHosts ? '10.77.0.1' : '127.0.0.1',
      PEER_HOST: twoHosts ? '10.77.0.2' : '127.0.0.1',
    },
  })
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(cells))
  const ended = new Promise((resolve) =>
    child.on('close', (code, signal) => resolve(signal ?? code)),
  )
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const code = await ended
  if (code === 0) return JSON.parse(stdout)
  return { problem: `the process ended with ${code}: ${stderr.slice(-600)}` }
}
