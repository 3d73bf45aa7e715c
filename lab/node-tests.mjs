#!/usr/bin/env node
/**
 * Node's own tests for net, tls, http, https, http2 and cluster, with and without
 * `--require tcp-keepalive/register`, compared.
 *
 *     npm run lab -- node-tests <folder>
 *
 * `folder` is the `test` folder of Node's sources, of about the version that runs
 * this script. The `node` packages of npm do not carry it, Debian's source package
 * does: `apt-get source --download-only nodejs`, and unpack `test` of its
 * `.orig.tar.xz` (trixie has 20, sid 22 and 24).
 *
 * What fails in both ways is the machine's (no IPv6, another OpenSSL) and is counted,
 * no more. What differs is run again by itself, three times each way, and is named.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const REGISTER = process.env.REGISTER ?? join(root, 'dist', 'register.js')
const NAMES = /^test-(net|tls|https?2?|cluster)[-.].*js$/
const TIMEOUT = 60_000

const [folder = ''] = process.argv.slice(2)
if (folder === '') {
  process.stderr.write('npm run lab -- node-tests <the test folder of Node’s sources>\n')
  process.exit(2)
}

/** Tests that may run beside others, and tests that may not. */
const listed = (kind) =>
  readdirSync(join(folder, kind))
    .filter((name) => NAMES.test(name))
    .map((name) => join(resolve(folder), kind, name))
const files = { parallel: listed('parallel'), sequential: listed('sequential') }

const scratch = mkdtempSync(join(tmpdir(), 'node-tests-'))

/** Runs one test in its own slot (its temporary folder and its port). */
function outcome(file, way, slot) {
  const flags = /^\/\/ Flags:(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1].trim().split(/\s+/) ?? []
  const env = { ...process.env, NODE_TEST_DIR: scratch, TEST_THREAD_ID: String(slot) }
  env.TEST_SERIAL_ID = String(slot)
  delete env.NODE_OPTIONS
  const required = way === 'with' ? ['--require', REGISTER] : []
  return new Promise((done) => {
    const child = spawn(process.execPath, [...flags, ...required, file], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      if (stderr.length < 20_000) stderr += text
    })
    const timer = setTimeout(() => {
      stderr += '\ntimed out\n'
      process.kill(-child.pid, 'SIGKILL')
    }, TIMEOUT)
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      // What the test has left behind must not keep this script waiting.
      child.stderr.destroy()
      done({ result: String(signal ?? code), stderr })
    })
  })
}

async function each(tests, workers, action) {
  const queue = [...tests]
  const work = async (slot) => {
    for (let test = queue.shift(); test !== undefined; test = queue.shift()) {
      await action(test, slot)
    }
  }
  await Promise.all(Array.from({ length: workers }, (_, slot) => work(slot + 1)))
}

const outcomes = new Map()
const count = files.parallel.length + files.sequential.length
const compare = async (file, slot) => {
  const pair = {}
  for (const way of ['without', 'with']) pair[way] = await outcome(file, way, slot)
  outcomes.set(file, pair)
  if (outcomes.size % 100 === 0) process.stderr.write(`${outcomes.size} of ${count}\n`)
}
await each(files.parallel, availableParallelism(), compare)
await each(files.sequential, 1, compare)

const different = [...outcomes].filter(([, pair]) => pair.without.result !== pair.with.result)
const real = []
for (const [file, pair] of different) {
  const again = { without: [], with: [] }
  for (let i = 0; i < 3; i++) {
    for (const way of ['without', 'with']) again[way].push((await outcome(file, way, 1)).result)
  }
  const verdict = again.without.join() === again.with.join() ? 'alike when alone' : 'DIFFERENT'
  if (verdict === 'DIFFERENT') real.push(file)
  process.stdout.write(
    `${verdict}: ${file}\n  without ${pair.without.result}, alone ${again.without}; with ${pair.with.result}, alone ${again.with}\n${pair.with.stderr.slice(-1500)}\n`,
  )
}
const failing = [...outcomes].filter(([, { without }]) => without.result !== '0')
process.stdout.write(
  `Node ${process.version}: ${outcomes.size} tests; ${outcomes.size - failing.length} pass without, ` +
    `${failing.length} do not; ${different.length} differed with register, ${real.length} of them when run alone again.\n`,
)
for (const [file, { without }] of failing) {
  process.stdout.write(
    `  fails without as well: ${file.slice(resolve(folder).length + 1)} (${without.result})\n`,
  )
}
rmSync(scratch, { recursive: true, force: true })
process.exitCode = real.length === 0 ? 0 : 1
