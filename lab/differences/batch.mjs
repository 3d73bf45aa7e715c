// Runs batches: each in a process and a network namespace of its own.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endOf, turns } from '../support/child.mjs'
import { UNSHARE } from '../support/namespace.mjs'

const here = (name) => join(import.meta.dirname, name)
const inTurn = turns(7)
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

const network = (ground) => [...UNSHARE, '--kill-child', 'sh', here('network.sh'), ground]
const [unshare, ...wantsAll] = [...network('two-hosts'), 'true']
export const hasNamespaces = spawnSync(unshare, wantsAll).status === 0

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

/** The outcome of each cell, in order. All cells are of the same ground. */
export async function runBatch(node, way, cells) {
  const { outcomes, strays, problem } = await inTurn(() => runOnce(node, way, cells))
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
  const inside = hasNamespaces ? network(ground) : []
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
  const { code, signal, stdout, stderr } = await endOf(child)
  if (code === 0) return JSON.parse(stdout)
  return { problem: `the process ended with ${signal ?? code}: ${stderr.slice(-600)}` }
}
