// npm run lab -- kernels: boots older kernels as user-mode Linux guests, whose root is this machine's, and runs in
// each `check`, tests that depend on the kernel, and a share of conformance. Writes docs/kernels.md.
//   --only TEXT        kernels of such a suite of Debian; nothing is written
//   --tests a,b,c      these test files; nothing is written
// Wants root on a Debian or Ubuntu whose apt reaches Debian's suites, and scripts/setup-debian kernels.
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { document } from './report.mjs'

const root = join(import.meta.dirname, '../..')
const { only, tests } = parseArgs({
  options: { only: { type: 'string' }, tests: { type: 'string' } },
}).values

const SUITES = ['bullseye', 'bookworm', 'trixie'].filter((suite) => suite.includes(only ?? ''))
const TESTS = tests?.split(',') ?? [
  ...['deaths', 'dead-peer', 'plan', 'sweep', 'watch', 'options', 'pending', 'server', 'hold'],
  ...['tcp-info', 'stuck-data', 'timed-out', 'liveness'],
]

function run(command, args, options) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...options })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
  return stdout
}

const missing = ['apt-get', 'dpkg', 'modprobe', 'patchelf'].filter(
  (command) => spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0,
)
if (process.getuid?.() !== 0 || process.arch !== 'x64' || missing.length > 0) {
  console.error(
    `It takes root on x64, and scripts/setup-debian kernels (missing: ${missing.join(', ') || 'none'}).`,
  )
  process.exit(1)
}

const work = mkdtempSync(join(tmpdir(), 'kernels-'))

/** This machine's own sources, for another suite. */
function sourcesFor(suite) {
  const etc = '/etc/apt'
  const own = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))[1]
  const files = [
    `${etc}/sources.list`,
    ...readdirSync(`${etc}/sources.list.d`).map((name) => `${etc}/sources.list.d/${name}`),
  ]
  const lines = []
  for (const file of files.filter(existsSync)) {
    const text = readFileSync(file, 'utf8').replace(/^#.*\n/gm, '')
    if (file.endsWith('.list')) {
      lines.push(
        ...text
          .split('\n')
          .filter((line) => line.startsWith('deb ') && line.includes(` ${own} `))
          .map((line) => line.replace(` ${own} `, ` ${suite} `)),
      )
    } else if (file.endsWith('.sources')) {
      for (const part of text.split(/\n\s*\n/)) {
        const field = (name) => new RegExp(`^${name}: *(.*)$`, 'm').exec(part)?.[1]
        if (!field('Suites')?.split(' ').includes(own)) continue
        const signed = field('Signed-By') ? `[signed-by=${field('Signed-By')}] ` : ''
        for (const uri of field('URIs').split(' ')) lines.push(`deb ${signed}${uri} ${suite} main`)
      }
    }
  }
  return `${lines.join('\n')}\n`
}

/** Unpacks a suite's kernel, and its C library where this machine's is too old for it. */
function fetchKernel(suite) {
  const folder = join(work, suite)
  for (const each of ['lists/partial', 'cache/archives/partial', 'out'])
    mkdirSync(join(folder, each), { recursive: true })
  const sources = join(folder, 'suite.list')
  writeFileSync(sources, sourcesFor(suite))
  const apt = (...words) => {
    const settings = [
      `Dir::Etc::sourcelist=${sources}`,
      'Dir::Etc::sourceparts=-',
      'Dir::Etc::preferencesparts=-',
      `Dir::State::lists=${join(folder, 'lists')}`,
      `Dir::Cache=${join(folder, 'cache')}`,
      'APT::Sandbox::User=root',
    ]
    run('apt-get', ['-qq', ...settings.flatMap((each) => ['-o', each]), ...words], { cwd: folder })
  }
  apt('update')
  const unpack = (name) => {
    apt('download', name)
    const file = readdirSync(folder).find((each) => each.startsWith(`${name}_`))
    run('dpkg', ['-x', file, 'out'], { cwd: folder })
  }
  unpack('user-mode-linux')
  const out = join(folder, 'out')
  const kernel = join(folder, 'linux')
  copyFileSync(join(out, 'usr/bin/linux.uml'), kernel)
  chmodSync(kernel, 0o755)
  if (/not found/.test(spawnSync('ldd', [kernel], { encoding: 'utf8' }).stdout)) {
    unpack('libc6')
    const libraries = join(out, 'usr/lib/x86_64-linux-gnu')
    const loader = join(libraries, 'ld-linux-x86-64.so.2')
    run('patchelf', ['--set-interpreter', loader, '--set-rpath', libraries, kernel])
  }
  return { kernel, modules: join(out, 'usr/lib/uml/modules') }
}

/** What runs in the guest: each part has an end, and what it says is told apart by its mark. */
function guestScript() {
  const vitest =
    'node_modules/vitest/vitest.mjs run --configLoader=runner --cache=false --maxWorkers=1'
  const node = process.execPath
  const part = (name, seconds, command) =>
    `echo "@begin ${name}"\ntimeout ${seconds} ${command} 2>&1\necho "@end ${name} $?"\n`
  return [
    'echo "@kernel $(uname -r)"',
    part('check', 120, `${node} dist/cli.js check`),
    part('conformance', 240, `${node} lab/conformance/run.mjs --short --within 0.125`),
    ...TESTS.map((test) =>
      part(
        `test ${test}`,
        600,
        `${node} ${vitest} --reporter=json --outputFile=/run/work/${test}.json test/${test}.test.ts`,
      ),
    ),
  ].join('\n')
}

let guest

async function boot(suite) {
  const { kernel, modules } = fetchKernel(suite)
  const shared = join(work, `${suite}-work`)
  mkdirSync(shared)
  writeFileSync(join(shared, 'guest.sh'), guestScript())
  const init = join(import.meta.dirname, 'init.sh')
  const line = [
    'root=/dev/root',
    'rootfstype=hostfs',
    'rootflags=/',
    'ro',
    'mem=3G',
    'quiet',
    'con=null',
    'con0=fd:0,fd:1',
  ]
  guest = spawn(
    kernel,
    [...line, `init=${init}`, `project=${root}`, `work=${shared}`, `modules=${modules}`],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, TMPDIR: work },
    },
  )
  const result = { suite, parts: {} }
  let name
  for await (const text of createInterface({ input: guest.stdout })) {
    // Programs may leave the line before it unended.
    const [, mark, rest] = /@(kernel|begin|end) (.*)$/.exec(text.trim()) ?? []
    if (mark === 'kernel') {
      result.version = rest
      console.log(`=== Linux ${rest} (${suite})`)
    } else if (mark === 'begin') {
      name = rest
      result.parts[name] = { lines: [] }
    } else if (mark === 'end') {
      const part = Object.assign(result.parts[name], { code: Number(rest.split(' ').at(-1)) })
      if (name.startsWith('test ')) Object.assign(part, testsOf(shared, name.slice(5)))
      console.log(summaryOf(name, part))
      name = undefined
    } else if (name !== undefined) result.parts[name].lines.push(text)
  }
  return result
}

/** What vitest has written of one file. */
function testsOf(shared, test) {
  const file = join(shared, `${test}.json`)
  if (!existsSync(file)) return { problem: 'not over in ten minutes' }
  const all = JSON.parse(readFileSync(file, 'utf8')).testResults.flatMap(
    ({ assertionResults }) => assertionResults,
  )
  const of = (status) => all.filter((each) => each.status === status)
  return {
    passed: of('passed').length,
    skipped: all.length - of('passed').length - of('failed').length,
    failed: of('failed').map(({ fullName, failureMessages }) => ({
      name: fullName,
      message: failureMessages[0]?.split('\n')[0],
    })),
  }
}

function summaryOf(name, { code, passed, skipped, failed, problem, lines }) {
  if (!name.startsWith('test ')) {
    const off = lines.filter((line) => /^OFF|as predicted|was predicted to/.test(line))
    return `${code === 0 ? '  ' : '! '}${name}: ${off.join('\n    ')}`
  }
  if (problem) return `! ${name}: ${problem}`
  const counts = `${passed} passed, ${skipped} skipped, ${failed.length} failed`
  return [
    `${failed.length === 0 ? '  ' : '! '}${name}: ${counts}`,
    ...failed.map((each) => `    ${each.name}\n      ${each.message}`),
  ].join('\n')
}

/** A guest's memory maps are the host's, many of them. */
const MAPS = '/proc/sys/vm/max_map_count'
const maps = readFileSync(MAPS, 'utf8').trim()
process.on('exit', () => {
  guest?.kill('SIGKILL')
  writeFileSync(MAPS, maps)
  rmSync(work, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
if (Number(maps) < 1_048_576) writeFileSync(MAPS, '1048576')

const results = []
for (const suite of SUITES) results.push(await boot(suite))
if (only === undefined && tests === undefined)
  writeFileSync(join(root, 'docs/kernels.md'), document(results, release().split('-')[0]))
else writeFileSync(join(tmpdir(), `kernels-${only ?? 'all'}.json`), JSON.stringify(results))
const isFine = ({ parts }) => Object.values(parts).every(({ code }) => code === 0)
process.exitCode = results.every(isFine) ? 0 : 1
