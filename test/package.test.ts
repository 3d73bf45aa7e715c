/** What users get: the packed tarball, installed without scripts in an empty folder. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, posix, relative } from 'node:path'
import { rolldown } from 'rolldown'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from './support/child.ts'

const root = join(__dirname, '..')
const host = `${process.platform}-${process.arch}`
const work = mkdtempSync(join(tmpdir(), 'tcp-keepalive-package-'))
/** The empty folder of the user. */
const app = join(work, 'app')
const installed = join(app, 'node_modules', 'tcp-keepalive')

afterAll(() => rmSync(work, { recursive: true }))

async function succeed(command: string[], cwd: string): Promise<string> {
  const ended = await run(command, { cwd })
  if (ended.code !== 0) throw new Error(`${command.join(' ')}\n${ended.stdout}\n${ended.stderr}`)
  return ended.stdout
}

interface Packed {
  filename: string
  files: { path: string }[]
}

async function pack(folder: string): Promise<Packed> {
  const answer = await succeed(
    ['npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', work],
    folder,
  )
  const [packed] = JSON.parse(answer) as [Packed]
  return packed
}

let files: string[] = []

beforeAll(async () => {
  // The whole checkout, with this host's binary where a release has it: what stays
  // out of the tarball stays out because of package.json.
  const staged = join(work, 'staged')
  const left = new Set(['build', '.git', 'prebuilds'])
  cpSync(root, staged, {
    recursive: true,
    filter: (source) => basename(source) !== 'node_modules' && !left.has(relative(root, source)),
  })
  mkdirSync(join(staged, 'prebuilds', host), { recursive: true })
  cpSync(
    join(root, 'build', 'Release', 'tcp_keepalive.node'),
    join(staged, 'prebuilds', host, 'tcp-keepalive.node'),
  )
  writeFileSync(join(staged, 'prebuilds', 'README.md'), '')

  // The one dependency as a tarball too: no registry is asked.
  const [packed, dependency] = await Promise.all([
    pack(staged),
    pack(join(root, 'node_modules', 'node-gyp-build')),
  ])
  files = packed.files.map(({ path }) => path)
  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "private": true }')
  const tarballs = [packed, dependency].map(({ filename }) => join(work, filename))
  const flags = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier']
  await succeed(['npm', 'install', ...flags, ...tarballs], app)
})

describe('the tarball', () => {
  test('has the build, the binaries and the papers, and nothing else', () => {
    const kinds = [
      /^package\.json$/,
      /^(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md$/,
      /^LICENSE$/,
      /^register\.js$/,
      /^docs\/(api\/)?[a-z-]+\.md$/i,
      /^docs\/[a-z-]+\.svg$/,
      /^examples\/[a-z-]+\.mjs$/,
      /^dist\/([a-z0-9-]+\/)*[a-z0-9-]+\.(js|d\.ts)$/,
      /^prebuilds\/[a-z0-9-]+\/[a-z0-9.-]+\.node$/,
    ]
    expect(files.filter((file) => !kinds.some((kind) => kind.test(file)))).toEqual([])
    expect(files).toEqual(
      expect.arrayContaining(['package.json', 'LICENSE', `prebuilds/${host}/tcp-keepalive.node`]),
    )
    const papers = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']
    for (const paper of papers) {
      expect(files.includes(paper), paper).toBe(existsSync(join(work, 'staged', paper)))
    }
  })

  test('has every file that package.json names', () => {
    const { main, types, exports, bin } = JSON.parse(
      readFileSync(join(installed, 'package.json'), 'utf8'),
    )
    const named: string[] = [main, types, ...Object.values(exports), ...Object.values(bin)].map(
      (file) => String(file).replace(/^\.\//, ''),
    )
    expect(named.length).toBeGreaterThan(5)
    for (const file of named) expect(files).toContain(file)
    // Each module has its types beside it; these two files hold them all.
    for (const file of files.filter((path) =>
      /^dist\/(?!(at-once|bundle)\.js$).*\.js$/.test(path),
    )) {
      expect(files).toContain(file.replace(/\.js$/, '.d.ts'))
    }
  })

  test.each(['README.md', 'CHANGELOG.md', 'SECURITY.md', 'docs/production.md'])(
    'the links of %s lead to what is in it',
    (name) => {
      const text = readFileSync(join(installed, name), 'utf8')
      const targets = Array.from(text.matchAll(/\]\(([^)\s#]+)/g), ([, target]) => String(target))
        .filter((target) => !/^[a-z]+:/.test(target))
        .map((target) => posix.join(posix.dirname(name), target))
        // The tests are proof for who has a clone; the package has none.
        .filter((target) => !target.startsWith('test/'))
      expect(targets.filter((target) => !files.includes(target))).toEqual([])
      if (name === 'README.md') expect(targets.length).toBeGreaterThan(5)
    },
  )

  test('runs nothing when it is installed', () => {
    const { scripts, dependencies } = JSON.parse(
      readFileSync(join(installed, 'package.json'), 'utf8'),
    )
    for (const hook of ['preinstall', 'install', 'postinstall', 'prepare']) {
      expect(scripts).not.toHaveProperty(hook)
    }
    // npm runs node-gyp for a package with a binding.gyp, script or not.
    expect(existsSync(join(installed, 'binding.gyp'))).toBe(false)
    expect(Object.keys(dependencies)).toEqual(['node-gyp-build'])
  })
})

describe('the check before a release', () => {
  const MANIFEST = {
    version: '1.2.3',
    homepage: 'https://git.example/them/tcp-keepalive#readme',
    repository: { type: 'git', url: 'git+https://git.example/them/tcp-keepalive.git' },
    bugs: { url: 'https://git.example/them/tcp-keepalive/issues' },
  }
  const CHANGES = '# Changelog\n\n## 1.2.3 (2030-01-31)\n'

  async function check(manifest: object, changes = CHANGES) {
    const folder = mkdtempSync(join(work, 'release-'))
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    writeFileSync(join(folder, 'CHANGELOG.md'), changes)
    const script = join(root, 'scripts', 'release-check.mjs')
    const { code, stderr } = await run([process.execPath, script, folder])
    return { code, problems: stderr.split('\n').slice(0, -1) }
  }

  test('passes what is filled in', async () => {
    expect(await check(MANIFEST)).toEqual({ code: 0, problems: [] })
  })

  test('refuses addresses that are placeholders or absent, each by its name', async () => {
    const { code, problems } = await check({
      ...MANIFEST,
      homepage: 'https://github.com/OWNER/tcp-keepalive#readme',
      repository: undefined,
    })
    expect(code).toBe(1)
    expect(problems).toEqual([
      expect.stringContaining('repository.url is absent'),
      expect.stringContaining('homepage is https://github.com/OWNER/'),
    ])
  })

  test('refuses a version that is not in the changelog with its date', async () => {
    for (const changes of ['# Changelog\n', CHANGES.replace('2030-01-31', 'unreleased')]) {
      expect(await check(MANIFEST, changes)).toMatchObject({
        code: 1,
        problems: [expect.stringContaining('CHANGELOG.md')],
      })
    }
  })
})

/** Sets and reads a real socket with whatever `api` and `testing` are. */
const USE = `
const use = (api, testing) => new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const socket = connect(server.address().port, '127.0.0.1', () => {
      api.setKeepalive(socket, { idle: 61, interval: 11, count: 4 })
      api.setUserTimeout(socket, 90_000)
      testing.unplug(socket)()
      const got = [api.getKeepalive(socket), api.getUserTimeout(socket), typeof api.SocketOptionError]
      socket.destroy()
      server.close()
      resolve(JSON.stringify(got))
    })
  })
})
`
const USED = `${JSON.stringify([{ enabled: true, idle: 61, interval: 11, count: 4 }, 90_000, 'function'])}\n`

async function runFile(name: string, source: string) {
  const file = join(app, name)
  writeFileSync(file, source)
  return run([process.execPath, file], { cwd: app })
}
const CLEAN = { code: 0, signal: null, stderr: '' }

describe.concurrent('the installed package', () => {
  test('required', async () => {
    const ended = await runFile(
      'required.cjs',
      `const { connect, createServer } = require('node:net')
       ${USE}
       use(require('tcp-keepalive'), require('tcp-keepalive/testing')).then(console.log)`,
    )
    expect(ended).toEqual({ ...CLEAN, stdout: USED })
  })

  test('imported, by name', async () => {
    const ended = await runFile(
      'imported.mjs',
      `import { connect, createServer } from 'node:net'
       import { getKeepalive, getUserTimeout, isDeadPeerError, setKeepalive, setUserTimeout, SocketOptionError, support } from 'tcp-keepalive'
       import { unplug } from 'tcp-keepalive/testing'
       ${USE}
       const api = { getKeepalive, getUserTimeout, setKeepalive, setUserTimeout, SocketOptionError }
       if (isDeadPeerError(new Error()) || support.setKeepalive !== true) throw new Error('unusable')
       console.log(await use(api, { unplug }))`,
    )
    expect(ended).toEqual({ ...CLEAN, stdout: USED })
  })

  test('imported and required are one and the same', async () => {
    const ended = await runFile(
      'both.mjs',
      `import { createRequire } from 'node:module'
       import * as imported from 'tcp-keepalive'
       const required = createRequire(import.meta.url)('tcp-keepalive')
       console.log(Object.keys(required).filter((name) => required[name] !== imported[name]))`,
    )
    expect(ended).toEqual({ ...CLEAN, stdout: '[]\n' })
  })

  describe('register, loaded before a program', () => {
    const absolute = join(installed, 'register')
    const flags: [string, string[]][] = [
      ['by its name', ['--require', 'tcp-keepalive/register']],
      ['by an absolute path', ['--require', absolute]],
      ['by an absolute path with its extension', ['--require', `${absolute}.js`]],
    ]
    // Before, any --import on Node 20 loses messages of workers: here there are none.
    flags.push(['imported by an absolute path', ['--import', `${absolute}.js`]])
    test.each(flags)('%s', async (what, flag) => {
      // A name is looked for from the working directory, a path is not.
      const cwd = what === 'by its name' ? app : work
      const program = join(app, 'registered.cjs')
      writeFileSync(
        program,
        `const { connect, createServer } = require('node:net')
         const { getKeepalive } = require('tcp-keepalive')
         const server = createServer().listen(0, '127.0.0.1', () => {
           const socket = connect(server.address().port, '127.0.0.1', () => {
             console.log(getKeepalive(socket).idle)
             process.exit()
           })
         })`,
      )
      const ended = await run([process.execPath, ...flag, program], { cwd })
      expect(ended).toEqual({ ...CLEAN, stdout: '27\n' })
    })

    test('in NODE_OPTIONS, also for a child in another folder', async () => {
      const program = "require('node:child_process').execFileSync(process.execPath, ['-e', '0'])"
      const options = (value: string) => ({ cwd: work, env: { NODE_OPTIONS: value } })
      const command = [process.execPath, '-e', program]
      expect(await run(command, options(`--require ${absolute}`))).toEqual({ ...CLEAN, stdout: '' })
      const named = await run(command, options('--require tcp-keepalive/register'))
      expect(named.stderr).toContain("Cannot find module 'tcp-keepalive/register'")
    })
  })

  test('shows its package.json, and no file that is not exported', async () => {
    const ended = await runFile(
      'exports.cjs',
      `console.log(require('tcp-keepalive/package.json').name)
       try { require('tcp-keepalive/dist/native.js') } catch ({ code }) { console.log(code) }`,
    )
    expect(ended).toEqual({ ...CLEAN, stdout: 'tcp-keepalive\nERR_PACKAGE_PATH_NOT_EXPORTED\n' })
  })

  test('compiles in strict TypeScript, for import and require, libraries checked too', async () => {
    const folder = join(app, 'typescript')
    mkdirSync(folder)
    const source = `
      import { connect } from 'node:net'
      import { getKeepalive, isDeadPeerError, setKeepalive, type KeepaliveSettings } from 'tcp-keepalive'
      import { unplug } from 'tcp-keepalive/testing'
      const socket = connect(80)
      setKeepalive(socket, { idle: 60 })
      export const settings: KeepaliveSettings = getKeepalive(socket)
      socket.on('error', (error) => isDeadPeerError(error) && error.syscall === 'read')
      unplug(socket)()
    `
    writeFileSync(join(folder, 'module.mts'), source)
    writeFileSync(join(folder, 'common.cts'), source)
    const types = join(root, 'node_modules', '@types')
    const compilerOptions = {
      ...{ module: 'nodenext', target: 'es2022', lib: ['es2022', 'esnext.disposable'] },
      ...{ strict: true, noEmit: true, skipLibCheck: false, types: ['node'], typeRoots: [types] },
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const ended = await run([process.execPath, tsc, '--project', folder], { cwd: app })
    expect(ended).toEqual({ ...CLEAN, stdout: '' })
  })

  test('from Jest as it comes', async () => {
    const folder = join(app, 'jest')
    mkdirSync(folder)
    writeFileSync(join(folder, 'package.json'), '{}')
    // Jest evaluates the package once for each file, in one process.
    for (const name of ['one', 'two']) {
      writeFileSync(
        join(folder, `${name}.test.js`),
        `const { connect, createServer } = require('node:net')
         ${USE}
         test('set and read back', async () => {
           const used = await use(require('tcp-keepalive'), require('tcp-keepalive/testing'))
           expect(used + '\\n').toBe(${JSON.stringify(USED)})
         })
         test('watched and swept', () => new Promise((resolve) => {
           const { setDeadPeerTimeout } = require('tcp-keepalive')
           const server = createServer().listen(0, '127.0.0.1', () => {
             const socket = connect(server.address().port, '127.0.0.1', () => {
               setDeadPeerTimeout(socket, 60_000)
               setTimeout(() => server.close(resolve) && socket.destroy(), 50)
             })
           })
         }))
         test('misspelt', () => {
           const { setKeepalive } = require('tcp-keepalive')
           expect(() => setKeepalive(connect(1).on('error', () => {}), { idel: 1 })).toThrow(TypeError)
         })`,
      )
    }
    const jest = join(root, 'node_modules', 'jest', 'bin', 'jest.js')
    const flags = ['--runInBand', '--detectOpenHandles', '--rootDir', folder]
    const ended = await run([process.execPath, jest, ...flags], { cwd: folder })
    expect(ended.stderr).toContain('Tests:       6 passed, 6 total')
    expect(ended.stderr).not.toContain('open handle')
    expect(ended.code).toBe(0)
  })

  test('where no binary fits, importing works and using says what to do', async () => {
    const bare = join(work, 'bare')
    cpSync(join(app, 'node_modules'), join(bare, 'node_modules'), { recursive: true })
    rmSync(join(bare, 'node_modules', 'tcp-keepalive', 'prebuilds'), { recursive: true })
    const file = join(bare, 'bare.cjs')
    writeFileSync(
      file,
      `const { setKeepalive, support } = require('tcp-keepalive')
       const { connect, createServer } = require('node:net')
       const server = createServer().listen(0, '127.0.0.1', () => {
         const socket = connect(server.address().port, '127.0.0.1', () => {
           try { setKeepalive(socket, true) } catch ({ code, message }) {
             console.log(JSON.stringify({ code, message, support: support.setKeepalive }))
           }
           process.exit()
         })
       })`,
    )
    const ended = await run([process.execPath, file], { cwd: bare })
    expect(ended.stderr).toBe('')
    const { code, message, support } = JSON.parse(ended.stdout)
    expect(code).toBe('ERR_FEATURE_UNAVAILABLE_ON_PLATFORM')
    expect(message).toContain(host)
    expect(message).toContain('npm ci && npm run pack:local')
    expect(support).toBe(message)
  })

  test('from a bundler, which takes in what index.js loads later', async () => {
    const input = join(app, 'bundled.cjs')
    writeFileSync(input, "console.log(require('tcp-keepalive').planDeadPeerTimeout(60_000).idle)")
    // Away from the package, where only what was taken in is found.
    const file = join(work, 'bundled', 'out.cjs')
    const bundle = await rolldown({ input, platform: 'node' })
    await bundle.write({ file, format: 'cjs' })
    await bundle.close()
    expect(await run([process.execPath, file])).toEqual({ ...CLEAN, stdout: '27\n' })
  })

  test('two copies in one process do not fight', async () => {
    const copy = join(app, 'copy', 'node_modules')
    cpSync(join(app, 'node_modules'), copy, { recursive: true })
    const ended = await runFile(
      'copies.cjs',
      `const { connect, createServer } = require('node:net')
       const { once } = require('node:events')
       const one = require('tcp-keepalive')
       const two = require('./copy/node_modules/tcp-keepalive')
       const { unplug } = require('tcp-keepalive/testing')
       if (one.setKeepalive === two.setKeepalive) throw new Error('not two copies')
       const server = createServer().listen(0, '127.0.0.1', async () => {
         const socket = connect(server.address().port, '127.0.0.1')
         one.setKeepalive(socket, { idle: 61 })
         two.setKeepalive(socket, { interval: 11 })
         await once(socket, 'connect')
         two.setKeepalive(socket, { count: 4 })
         console.log(JSON.stringify([one.getKeepalive(socket), two.getKeepalive(socket)]))
         for (const copy of [one, two]) copy.setKeepalive(socket.resume(), { idle: 1, interval: 1, count: 1 })
         unplug(socket)
         const [error] = await once(socket, 'error')
         console.log(one.isDeadPeerError(error), two.isDeadPeerError(error))
         process.exit()
       })`,
    )
    const settings = { enabled: true, idle: 61, interval: 11, count: 4 }
    const stdout = `${JSON.stringify([settings, settings])}\ntrue true\n`
    expect(ended).toEqual({ ...CLEAN, stdout })
  })
})
