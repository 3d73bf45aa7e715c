#!/usr/bin/env node
/**
 * The native code under gcc's sanitizers and under valgrind, after `scripts/setup-debian sanitize`.
 *
 *     npm run lab -- sanitize                all of them
 *     npm run lab -- sanitize address       AddressSanitizer and UndefinedBehaviorSanitizer
 *     npm run lab -- sanitize thread        ThreadSanitizer, with workers side by side
 *     npm run lab -- sanitize leaks         valgrind: memory that nobody can free any more
 *
 * Each has a build of its own below build/, so that the ordinary one stays. Node is an ordinary
 * one: what is looked at is the binding, and what it hands to others.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')
const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')

const vitest = (...names) => [
  'node_modules/vitest/vitest.mjs',
  'run',
  // All is slower here: no file makes another late.
  '--maxWorkers=1',
  '--testTimeout=120000',
  ...names.map((name) => `test/${name}.test.ts`),
]

const CHECKS = {
  address: {
    flags: ['-fsanitize=address,undefined,float-cast-overflow', '-fno-sanitize-recover=all'],
    runtime: 'libasan.so',
    options: (log) => ({
      // Node's own leaks would be told as well; ours are valgrind's part.
      ASAN_OPTIONS: `detect_leaks=0:log_path=${log}`,
      UBSAN_OPTIONS: `print_stacktrace=1:log_path=${log}`,
    }),
    commands: [
      ['test/support/raw-calls.cjs', '200000', '1'],
      ['test/support/many-calls.cjs', '20000'],
      vitest(
        'options',
        'tcp-info',
        'unplug',
        'watch',
        'watch-traps',
        'environments',
        'process-end',
      ),
    ],
  },
  thread: {
    flags: ['-fsanitize=thread'],
    runtime: 'libtsan.so',
    // Node was not made with it: its own locks are seen, its own reads and writes are not.
    options: (log) => ({ TSAN_OPTIONS: `ignore_noninstrumented_modules=1:log_path=${log}` }),
    commands: [
      ['test/support/raw-calls.cjs', '20000', '1'],
      vitest('environments', 'process-end', 'watch-traps'),
    ],
  },
  leaks: { flags: [], commands: [['test/support/many-calls.cjs', '20000']] },
}

function build(name, flags) {
  const folder = join(root, 'build', name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(folder, 'reports'), { recursive: true })
  for (const part of ['native', 'binding.gyp', 'package.json']) {
    cpSync(join(root, part), join(folder, part), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const CXXFLAGS = ['-g', '-O1', '-fno-omit-frame-pointer', ...flags].join(' ')
  execFileSync(process.execPath, [gyp, 'configure', 'build', '--loglevel=warn', '-C', folder], {
    env: { ...process.env, CXXFLAGS, LDFLAGS: flags.join(' ') },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return folder
}

/** Runs Node with a folder's binding; true where that went well. */
function runs(folder, [command, ...args], env = {}) {
  const { status } = spawnSync(command, args, {
    cwd: root,
    // node-gyp-build looks there first.
    env: { ...process.env, TCP_KEEPALIVE_PREBUILD: folder, ...env },
    stdio: 'inherit',
    timeout: 600_000,
  })
  return status === 0
}

const isLoaded = (folder) => [process.execPath, 'lab/sanitize/loaded.cjs', folder]

function sanitized(folder, { runtime, options, commands }) {
  const reports = join(folder, 'reports')
  const preload = execFileSync('gcc', [`-print-file-name=${runtime}`], { encoding: 'utf8' }).trim()
  const env = { LD_PRELOAD: preload, ...options(join(reports, 'report')) }
  const results = [
    isLoaded(folder),
    ...commands.map((command) => [process.execPath, ...command]),
  ].map((command) => runs(folder, command, env))
  const found = readdirSync(reports)
  for (const file of found) console.error(readFileSync(join(reports, file), 'utf8'))
  return !results.includes(false) && found.length === 0
}

/** Node has leaks of its own: only those count that have the binding in their stack. */
function withoutLeaks(folder, { commands: [command] }) {
  const file = join(folder, 'reports', 'valgrind.xml')
  const valgrind = ['valgrind', '--quiet', '--leak-check=full', '--show-leak-kinds=definite']
  valgrind.push('--num-callers=40', '--keep-debuginfo=yes', '--xml=yes', `--xml-file=${file}`)
  const ran =
    runs(folder, isLoaded(folder)) && runs(folder, [...valgrind, process.execPath, ...command])
  const leaks = readFileSync(file, 'utf8')
    .split('<error>')
    .filter((error) => error.includes('<kind>Leak_DefinitelyLost</kind>'))
  const ours = leaks.filter((error) => error.includes(`<obj>${folder}/`))
  for (const leak of ours) console.error(leak)
  console.log(
    `definitely lost: ${ours.length} times by the binding, ${leaks.length - ours.length} by Node`,
  )
  return ran && ours.length === 0
}

const asked = process.argv.slice(2)
const unknown = asked.find((name) => !Object.hasOwn(CHECKS, name))
if (unknown !== undefined)
  throw new Error(`${unknown}? There is ${Object.keys(CHECKS).join(', ')}.`)
for (const name of asked.length > 0 ? asked : Object.keys(CHECKS)) {
  const check = CHECKS[name]
  const folder = build(name, check.flags)
  const clean = name === 'leaks' ? withoutLeaks(folder, check) : sanitized(folder, check)
  console.log(`${name}: ${clean ? 'clean' : 'FAILED'}`)
  if (!clean) process.exitCode = 1
}
