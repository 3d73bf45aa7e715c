#!/usr/bin/env node
/**
 * The tests of what Node does to sockets, under other versions of Node.
 *
 *     npm run test:nodes                    20, 22, 24 and 26
 *     npm run test:nodes -- 24.21.0 26      these
 *     npm run test:nodes -- 26 test/http2.test.ts
 *
 * Each comes from npm by itself (`npx -p node@26`), and runs the files below, or those
 * that are named, against the same build: Node-API has one binary for all of them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const args = process.argv.slice(2)
const named = args.filter((arg) => /^\d+(\.\d+)*$/.test(arg))
const versions = named.length > 0 ? named : ['20', '22', '24', '26']
const others = args.filter((arg) => !named.includes(arg))
const files =
  others.length > 0
    ? others
    : [
        ...[
          'options',
          'refusal',
          'watch',
          'hold',
          'server',
          'cluster',
          'agent',
          'http2',
          'handover',
          'pending',
        ],
        ...['slow-consumer', 'sweep', 'half-trusted'],
        ...['defaults', 'defaults-process', 'register', 'nothing-else'],
      ].map((name) => `test/${name}.test.ts`)

const failed = []
for (const version of versions) {
  // The project's .npmrc keeps scripts of dependencies from running; this package is one.
  const npx = ['--yes', '--ignore-scripts=false', '--package', `node@${version}`, '--']
  const vitest = ['node', 'node_modules/vitest/vitest.mjs', 'run', ...files]
  process.stdout.write(`Node ${version}\n`)
  const child = spawn('npx', [...npx, ...vitest], { cwd: root, stdio: 'inherit' })
  const [code] = await once(child, 'close')
  if (code !== 0) failed.push(version)
}
process.stdout.write(
  failed.length === 0
    ? `All pass with Node ${versions.join(', ')}.\n`
    : `Failures with Node ${failed.join(', ')}.\n`,
)
process.exitCode = failed.length === 0 ? 0 : 1
