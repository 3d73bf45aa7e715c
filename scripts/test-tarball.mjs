// Installs the packed tarball as users do, in empty folders, with a PATH on which
// there is no Python, no make and no compiler, and uses it.
//   npm run test:tarball                     with this Node, and with 20 and 26 where they are found
//   npm run test:tarball -- <node> …         with these executables
// Wants `npm run prebuild` before. The package comes from a registry of one's own on
// 127.0.0.1, so that lockfiles, integrity and `npm ci` are as they will be.
// Jest, TypeScript and what no binary fits are in test/package.test.ts.
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, relative, sep } from 'node:path'

const root = join(import.meta.dirname, '..')
const tools = join(root, 'scripts/tarball')
const modules = join(tools, 'node_modules')
const windows = process.platform === 'win32'
const work = mkdtempSync(join(tmpdir(), 'tarball-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))

const MAX_UNPACKED = 1_000_000

// ---------------------------------------------------------------- what is needed

const sums = readFileSync(join(root, 'prebuilds/SHA256SUMS'), 'utf8').trim().split('\n')
const absent = sums
  .map((line) => line.split(/\s+/))
  .filter(([sum, file]) => sum !== sumOf(join(root, 'prebuilds', file)))
if (absent.length > 0) {
  const files = absent.map(([, file]) => file).join(', ')
  console.log(
    `Skipped: these binaries are not those of prebuilds/SHA256SUMS: ${files}. Run npm run prebuild.`,
  )
  process.exit(0)
}
if (!existsSync(modules)) {
  // The project's .npmrc is not theirs.
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: tools, stdio: 'inherit', shell: windows })
}

function sumOf(file) {
  return existsSync(file) ? createHash('sha256').update(readFileSync(file)).digest('hex') : ''
}

// ---------------------------------------------------------------- the tarball

function pack(folder) {
  const options = ['pack', '--json', '--ignore-scripts', '--pack-destination', work]
  const stdio = ['ignore', 'pipe', 'ignore']
  const [packed] = JSON.parse(execFileSync('npm', options, { cwd: folder, stdio, shell: windows }))
  return { ...packed, manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) }
}

let failures = 0
function report(what, problem) {
  console.log(`  ${problem === undefined ? 'ok    ' : 'FAILED'} ${what}`)
  if (problem === undefined) return
  failures++
  console.log(String(problem).replace(/^/gm, '         '))
}

const product = pack(root)
const { version } = product.manifest
console.log(`${product.filename}: ${product.size} bytes, unpacked ${product.unpackedSize}`)
report(
  `unpacked at most ${MAX_UNPACKED} bytes`,
  product.unpackedSize <= MAX_UNPACKED ? undefined : product.unpackedSize,
)
const paths = product.files.map(({ path }) => path)
const strays = paths.filter(
  (path) =>
    !/^(package\.json|LICENSE|(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|register\.js|dist\/.*\.(js|d\.ts)|docs\/.*\.(md|svg)|examples\/[^/]+\.mjs|prebuilds\/[^/]+\/[^/]+\.node)$/.test(
      path,
    ),
)
report('no sources, no tests, no binding.gyp', strays.length === 0 ? undefined : strays.join('\n'))
const binaries = paths.filter((path) => path.endsWith('.node')).length
report(`${sums.length} binaries`, binaries === sums.length ? undefined : binaries)

// What npm does to a package with a binding.gyp: the control of 'nothing is compiled'.
const controlFolder = join(work, 'control')
mkdirSync(controlFolder)
writeFileSync(join(controlFolder, 'package.json'), '{ "name": "control", "version": "1.0.0" }')
writeFileSync(join(controlFolder, 'binding.gyp'), '{ "targets": [] }')

// ---------------------------------------------------------------- the registry

const served = [product, pack(join(root, 'node_modules/node-gyp-build')), pack(controlFolder)]
const registry = createServer((request, response) => {
  const [, name, , filename] = decodeURIComponent(request.url.split('?')[0]).split('/')
  const found = served.find((entry) => entry.name === name)
  if (found === undefined) return response.writeHead(404).end('{}')
  if (filename !== undefined) return response.end(readFileSync(join(work, found.filename)))
  const tarball = `${url}/${name}/-/${found.filename}`
  const dist = { tarball, integrity: found.integrity, shasum: found.shasum }
  response.setHeader('content-type', 'application/json')
  response.end(
    JSON.stringify({
      name,
      'dist-tags': { latest: found.version },
      versions: { [found.version]: { ...found.manifest, dist } },
      // Old enough for package managers that wait before they take a new version.
      time: { created: LONG_AGO, modified: LONG_AGO, [found.version]: LONG_AGO },
    }),
  )
})
const LONG_AGO = '2020-01-01T00:00:00.000Z'
await new Promise((resolve) => registry.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${registry.address().port}`

// ---------------------------------------------------------------- the user's programs

const USE = `
  const use = async (api, testing, { connect, createServer }) => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const socket = connect(server.address().port, '127.0.0.1')
    await new Promise((resolve) => socket.once('connect', resolve))
    api.setKeepalive(socket, { idle: 61, interval: 11, count: 4 })
    const got = Object.values(api.getKeepalive(socket)).join()
    socket.destroy()
    server.close()
    if (got !== 'true,61,11,4' || typeof testing.unplug !== 'function') throw new Error(got)
  }
`
const REQUIRED = `
  const net = require('node:net')
  const { dirname } = require('node:path')
  const { isMainThread, parentPort, Worker } = require('node:worker_threads')
  ${USE}
  use(require('tcp-keepalive'), require('tcp-keepalive/testing'), net).then(() => {
    if (!isMainThread) return parentPort.postMessage('used')
    new Worker(__filename).on('message', () => console.log(dirname(require.resolve('tcp-keepalive/package.json'))))
  })
`
const IMPORTED = `
  import * as net from 'node:net'
  import * as api from 'tcp-keepalive'
  import * as testing from 'tcp-keepalive/testing'
  ${USE}
  await use(api, testing, net)
`
const BUNDLED = `${USE}
  use(require('tcp-keepalive'), require('tcp-keepalive/testing'), require('node:net'))
    .then(() => console.log('bundled'))
`

function newApp(name, dependency = 'tcp-keepalive') {
  const folder = join(work, name)
  mkdirSync(folder)
  const dependencies = { [dependency]: dependency === 'tcp-keepalive' ? version : '1.0.0' }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  // pnpm takes it from here only.
  writeFileSync(join(folder, '.npmrc'), `registry=${url}\n`)
  writeFileSync(join(folder, 'required.cjs'), REQUIRED)
  writeFileSync(join(folder, 'imported.mjs'), IMPORTED)
  return folder
}

/** Nothing was added to what was packed, and nothing is missing or other. */
function compare(folder) {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)).split(sep).join('/'))
    // '.ready' is yarn's own mark.
    .filter((path) => !path.startsWith('node_modules/') && path !== '.ready')
  const added = found.filter((path) => !paths.includes(path))
  const gone = paths.filter((path) => !found.includes(path))
  const changed = found.filter(
    (path) => path.endsWith('.node') && sumOf(join(folder, path)) !== sumOf(join(root, path)),
  )
  if (added.length + gone.length + changed.length > 0) {
    throw new Error(`added: ${added}; missing: ${gone}; changed: ${changed}`)
  }
}

// ---------------------------------------------------------------- one Node

/** A copy, as package managers put the folder of their Node before everything else on the PATH. */
function poorPath(node, index) {
  if (windows) return [dirname(node), join(process.env.SystemRoot, 'System32')].join(delimiter)
  const bin = join(work, `bin${index}`)
  mkdirSync(bin)
  try {
    linkSync(node, join(bin, 'node'))
  } catch {
    copyFileSync(node, join(bin, 'node'))
  }
  // What the launchers in node_modules/.bin are made of.
  for (const name of ['sh', 'env', 'sed', 'uname', 'dirname', 'basename', 'readlink']) {
    const found = ['/bin', '/usr/bin'].map((folder) => join(folder, name)).find(existsSync)
    if (found !== undefined) symlinkSync(found, join(bin, name))
  }
  return bin
}

async function testNode(executable, index) {
  const PATH = poorPath(executable, index)
  const node = windows ? executable : join(PATH, 'node')
  const home = join(work, `home${index}`)
  mkdirSync(home)
  const env = {
    ...(windows ? { SystemRoot: process.env.SystemRoot, TEMP: work } : {}),
    ...{ PATH, HOME: home, USERPROFILE: home, CI: '1', NO_COLOR: '1' },
    ...{ npm_config_registry: url, npm_config_cache: join(home, 'npm') },
    ...{ npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' },
    ...{ YARN_NPM_REGISTRY_SERVER: url, YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1' },
    ...{ YARN_ENABLE_TELEMETRY: '0', YARN_ENABLE_GLOBAL_CACHE: '0', YARN_NODE_LINKER: 'pnp' },
  }

  const run = (folder, ...command) =>
    new Promise((resolve, reject) => {
      const options = { cwd: folder, env, timeout: 120_000, maxBuffer: 1 << 26 }
      execFile(node, command, options, (error, stdout, stderr) => {
        if (error === null) return resolve(stdout.trim())
        const shown = command.map((part) => part.replace(`${modules}${sep}`, '')).join(' ')
        reject(new Error(`${shown}\n${stdout}${stderr}`.slice(-3000)))
      })
    })
  const attempt = async (what, action) => {
    try {
      await action()
      report(what)
    } catch (error) {
      report(what, error.message)
    }
  }
  const used = async (folder, ...runner) => {
    compare(await run(folder, ...runner, 'required.cjs'))
    await run(folder, ...runner, 'imported.mjs')
  }

  const release = await run(work, '--version')
  console.log(`Node ${release}`)
  const tool = (name, file) => join(modules, name, file)
  // What a package manager's own manifest says that it runs on.
  const semver = createRequire(join(modules, 'npm11/package.json'))('semver')
  const fits = (name) => {
    const { engines } = JSON.parse(readFileSync(tool(name, 'package.json'), 'utf8'))
    const can = engines?.node === undefined || semver.satisfies(release, engines.node)
    if (!can) console.log(`  skip   ${name}: wants Node ${engines.node}`)
    return can
  }

  let installed
  for (const name of ['npm10', 'npm11', 'npm12'].filter(fits)) {
    const npm = tool(name, 'bin/npm-cli.js')
    const folder = newApp(`${name}-${index}`)
    await attempt(`${name} install, imported, required and in a worker`, async () => {
      await run(folder, npm, 'install')
      await used(folder)
      installed = folder
    })
    await attempt(`${name} ci, from the lockfile`, async () => {
      rmSync(join(folder, 'node_modules'), { recursive: true })
      await run(folder, npm, 'ci')
      await used(folder)
    })
    await attempt(`${name} rebuild`, async () => {
      await run(folder, npm, 'rebuild')
      await used(folder)
    })
    // npm 12 runs no scripts of dependencies, so it has nothing to be held against.
    if (name === 'npm12' || windows) continue
    await attempt(`${name} ci of a package with a binding.gyp fails on this PATH`, async () => {
      const control = newApp(`${name}-control-${index}`, 'control')
      await run(control, npm, 'install', '--ignore-scripts')
      rmSync(join(control, 'node_modules'), { recursive: true })
      const answer = await run(control, npm, 'ci').catch(({ message }) => message)
      if (!/node-gyp|gyp ERR/.test(answer)) throw new Error(answer || 'it did not fail')
    })
  }

  for (const [name, file] of [
    ['pnpm10', 'bin/pnpm.cjs'],
    ['pnpm11', 'bin/pnpm.mjs'],
  ].filter(([name]) => fits(name))) {
    const pnpm = tool(name, file)
    const folder = newApp(`${name}-${index}`)
    await attempt(`${name} install, again from the lockfile, and rebuild`, async () => {
      await run(folder, pnpm, 'install', '--no-frozen-lockfile')
      await used(folder)
      rmSync(join(folder, 'node_modules'), { recursive: true })
      await run(folder, pnpm, 'install', '--frozen-lockfile')
      await run(folder, pnpm, 'rebuild')
      await used(folder)
    })
  }

  const yarn1 = newApp(`yarn1-${index}`)
  await attempt('yarn classic, and again from the lockfile', async () => {
    const yarn = [tool('yarn1', 'bin/yarn.js'), '--registry', url, '--non-interactive']
    await run(yarn1, ...yarn, 'install')
    await used(yarn1)
    await run(yarn1, ...yarn, 'install', '--frozen-lockfile', '--force')
    await used(yarn1)
  })

  const yarn4 = newApp(`yarn4-${index}`)
  writeFileSync(join(yarn4, 'yarn.lock'), '')
  await attempt('yarn PnP, unplugged, and again from the lockfile', async () => {
    const yarn = tool('yarn4', 'bin/yarn.js')
    env.YARN_PNP_ENABLE_ESM_LOADER = '1'
    await run(yarn4, yarn, 'install', '--no-immutable')
    await run(yarn4, yarn, 'install', '--immutable')
    await used(yarn4, yarn, 'node')
    const unplugged = readdirSync(join(yarn4, '.yarn/unplugged'))
    if (!unplugged.some((name) => name.startsWith('tcp-keepalive-'))) throw new Error(unplugged)
  })

  if (installed === undefined) return
  await attempt('npx tcp-keepalive check', async () => {
    const answer = await run(installed, tool('npm11', 'bin/npx-cli.js'), 'tcp-keepalive', 'check')
    for (const line of answer.split('\n')) console.log(`         | ${line}`)
  })

  writeFileSync(join(installed, 'bundled.cjs'), BUNDLED)
  for (const [name, bundle] of Object.entries(bundlers)) {
    await attempt(`bundled with ${name}, the binaries beside it`, async () => {
      const folder = join(work, `${name}-${index}`)
      await bundle(join(installed, 'bundled.cjs'), join(folder, 'out'))
      const prebuilds = join(installed, 'node_modules/tcp-keepalive/prebuilds')
      cpSync(prebuilds, join(folder, 'prebuilds'), { recursive: true })
      const answer = await run(folder, 'out/bundle.cjs')
      if (answer !== 'bundled') throw new Error(answer)
    })
  }
}

// ---------------------------------------------------------------- bundlers

const load = createRequire(join(tools, 'package.json'))
const bundlers = {
  async esbuild(entry, out) {
    const outfile = join(out, 'bundle.cjs')
    await load('esbuild').build({
      entryPoints: [entry],
      bundle: true,
      platform: 'node',
      outfile,
      logLevel: 'silent',
    })
  },
  async webpack(entry, path) {
    await new Promise((resolve, reject) => {
      const options = {
        entry,
        target: 'node',
        mode: 'production',
        output: { path, filename: 'bundle.cjs' },
        // Otherwise __dirname is '/', and the binaries are looked for there.
        node: { __dirname: false },
      }
      load('webpack')(options, (error, stats) => {
        if (error !== null || stats.hasErrors()) reject(error ?? new Error(stats.toString()))
        else resolve()
      })
    })
  },
}

const named = process.argv.slice(2)
const others = ['node20', 'node26'].map((name) =>
  join(root, 'scripts/platforms/node_modules', name, 'bin/node'),
)
const major = `v${process.versions.node.split('.')[0]}.`
const nodes =
  named.length > 0
    ? named
    : [
        process.execPath,
        ...others.filter(
          (file) =>
            existsSync(file) && !execFileSync(file, ['--version']).toString().startsWith(major),
        ),
      ]
for (const [index, node] of nodes.entries()) await testNode(node, index)
registry.close()
if (failures > 0) {
  console.log(`${failures} failed.`)
  process.exitCode = 1
}
