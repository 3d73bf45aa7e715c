/** Where the binary does not load, the error names the cause at hand and what helps against it, and no other. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import commonjs from '@rollup/plugin-commonjs'
import nodeResolve from '@rollup/plugin-node-resolve'
import { type BuildOptions, build } from 'esbuild'
import { rolldown } from 'rolldown'
import { rollup } from 'rollup'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from './support/child.ts'

const root = join(__dirname, '..')
const work = mkdtempSync(join(tmpdir(), 'tcp-keepalive-load-'))
/** Where `PROGRAM` is in programs of all kinds, and the package as it is installed. */
const app = join(work, 'app')
const installed = join(app, 'node_modules', 'tcp-keepalive')
const binaries = join('prebuilds', `${process.platform}-${process.arch}`)
const binary = join(binaries, 'tcp-keepalive.node')
const [major = 0] = process.versions.node.split('.').map(Number)
const CAN_UNSHARE = spawnSync('unshare', ['-m', 'true']).status === 0

const PROGRAM = `
console.log(JSON.stringify([planDeadPeerTimeout(60_000).idle, support.setKeepalive]))
`
const NAMES = '{ planDeadPeerTimeout, support }'
const requiring = join(app, 'program.cjs')
const importing = join(app, 'program.mjs')

beforeAll(() => {
  for (const part of ['dist', 'package.json']) {
    cpSync(join(root, part), join(installed, part), { recursive: true })
  }
  const helper = join('node_modules', 'node-gyp-build')
  cpSync(join(root, helper), join(app, helper), { recursive: true })
  mkdirSync(join(installed, binaries), { recursive: true })
  cpSync(join(root, 'build', 'Release', 'tcp_keepalive.node'), join(installed, binary))
  writeFileSync(requiring, `const ${NAMES} = require('tcp-keepalive')\n${PROGRAM}`)
  writeFileSync(importing, `import ${NAMES} from 'tcp-keepalive'\n${PROGRAM}`)
})
afterAll(() => rmSync(work, { recursive: true }))

/** What each cause is told to do. */
const ADVICE = {
  bundle: 'part of a bundle',
  addons: '--allow-addons',
  alpine: '--allow-fs-read=/etc/alpine-release',
  reading: '--allow-fs-read=',
  libc: 'LIBC=musl in',
  noexec: 'mounted noexec',
  platform: 'no binary for this platform',
  without: 'installed without its binaries',
  incomplete: 'dependency of the package is missing',
}
type Cause = keyof typeof ADVICE

/** Runs a program, whose import and whose arithmetic work, and gives what `support` says. */
async function answerOf(command: string[], env: NodeJS.ProcessEnv = {}): Promise<true | string> {
  const ended = await run(command, { cwd: work, env })
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  const [idle, answer] = JSON.parse(ended.stdout)
  expect(idle).toBe(27)
  return answer
}

function expectAdvice(answer: true | string, reason: string, ...causes: Cause[]): void {
  expect(answer).toContain(reason)
  const named = Object.entries(ADVICE).filter(([, words]) => String(answer).includes(words))
  expect(named.map(([cause]) => cause)).toEqual(causes)
}

describe.concurrent('bundled', () => {
  type Format = 'cjs' | 'esm'
  type Bundle = (entry: string, file: string, format: Format, external: string[]) => Promise<void>
  /** esbuild has no `require` in an ES module, and asks for this. */
  const require = `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url)`

  const bundlers: [string, Bundle][] = [
    [
      'esbuild',
      async (entry, outfile, format, external) => {
        const banner = format === 'esm' ? { js: require } : {}
        const options: BuildOptions = { entryPoints: [entry], bundle: true, platform: 'node' }
        await build({ ...options, outfile, format, external, banner, logLevel: 'error' })
      },
    ],
    [
      'rollup',
      async (input, file, format, external) => {
        const own = (module: string) => /^(node:|fs$|path$|os$)/.test(module)
        const bundle = await rollup({
          input,
          external: (module) => own(module) || external.includes(module),
          plugins: [nodeResolve(), commonjs()],
        })
        await bundle.write({ file, format })
      },
    ],
    [
      'rolldown',
      async (input, file, format, external) => {
        await using bundle = await rolldown({ input, platform: 'node', external })
        await bundle.write({ file, format })
      },
    ],
  ]
  const all = bundlers.flatMap(([name, bundle]) =>
    (['cjs', 'esm'] as const).map((format) => [name, format, bundle] as const),
  )

  async function bundled(bundle: Bundle, format: Format, external: string[] = []) {
    const home = mkdtempSync(join(work, 'bundle-'))
    const file = join(home, 'out', format === 'cjs' ? 'bundle.cjs' : 'bundle.mjs')
    await bundle(format === 'cjs' ? requiring : importing, file, format, external)
    return { home, command: [process.execPath, file] }
  }

  test.each(all)('%s %s, without the binaries', async (_name, format, bundle) => {
    const { command } = await bundled(bundle, format)
    const reason = format === 'cjs' ? 'No native build was found' : '__dirname is not defined'
    expectAdvice(await answerOf(command), reason, 'bundle')
  })

  test.each(all)('%s %s, but for this package: it works', async (_name, format, bundle) => {
    const { home, command } = await bundled(bundle, format, ['tcp-keepalive'])
    symlinkSync(join(app, 'node_modules'), join(home, 'node_modules'))
    expect(await answerOf(command)).toBe(true)
  })

  const commonJs = all.filter(([, format]) => format === 'cjs')
  test.each(commonJs)('%s %s, the binaries in the folder above', async (name, format, bundle) => {
    const { home, command } = await bundled(bundle, format)
    cpSync(join(installed, 'prebuilds'), join(home, 'prebuilds'), { recursive: true })
    const answer = await answerOf(command)
    if (name === 'rollup') expectAdvice(answer, 'Could not dynamically require', 'bundle')
    else expect(answer).toBe(true)
  })
})

describe.concurrent('with --permission', () => {
  const permission = major < 22 ? '--experimental-permission' : '--permission'
  const node = [process.execPath, '--no-warnings', permission]
  const release = '--allow-fs-read=/etc/alpine-release'
  const reading = (...paths: string[]) => paths.map((path) => `--allow-fs-read=${path}`)

  test('and nothing else for it', async () => {
    const answer = await answerOf([...node, ...reading(app), requiring])
    expectAdvice(answer, 'Access to this API has been restricted', 'alpine', 'reading')
  })

  test('and no add-ons', async () => {
    const answer = await answerOf([...node, ...reading(app), release, requiring])
    expectAdvice(answer, 'loading addons is disabled', 'addons')
  })

  test.runIf(major < 22)('and the folder of the binaries not to be read', async () => {
    // From Node 22 on a package whose folder may not be read is not found at all.
    const parts = [requiring, join(installed, 'dist'), join(app, 'node_modules', 'node-gyp-build')]
    const flags = [...reading(...parts), release, '--allow-addons']
    const answer = await answerOf([...node, ...flags, requiring])
    expectAdvice(answer, 'No native build was found', 'reading')
    expect(answer).toContain(`--allow-fs-read=${join(installed, 'prebuilds')}`)
  })

  test('what it says is enough', async () => {
    const flags = [...reading(app), '--allow-addons']
    expect(await answerOf([...node, ...flags, release, requiring])).toBe(true)
    expect(await answerOf([...node, ...flags, requiring], { LIBC: 'glibc' })).toBe(true)
  })

  test('--no-addons is the same refusal', async () => {
    const answer = await answerOf([process.execPath, '--no-addons', requiring])
    expectAdvice(answer, 'loading addons is disabled', 'addons')
  })
})

describe.concurrent('installed', () => {
  /** A copy of the application, changed. */
  function changed(change: (folder: string) => void): string[] {
    const folder = mkdtempSync(join(work, 'changed-'))
    cpSync(app, folder, { recursive: true })
    change(folder)
    return [process.execPath, join(folder, 'program.cjs')]
  }
  const inPackage = (folder: string, ...path: string[]) =>
    join(folder, 'node_modules', 'tcp-keepalive', ...path)

  test('without its binaries', async () => {
    const command = changed((folder) => rmSync(inPackage(folder, 'prebuilds'), { recursive: true }))
    expectAdvice(await answerOf(command), 'No native build was found', 'without')
  })

  test('on a platform that has none', async () => {
    const command = changed((folder) => rmSync(inPackage(folder, binaries), { recursive: true }))
    expectAdvice(await answerOf(command), 'No native build was found', 'platform')
  })

  test('without its dependency', async () => {
    const command = changed((folder) =>
      rmSync(join(folder, 'node_modules', 'node-gyp-build'), { recursive: true }),
    )
    const reason = "Cannot find module 'node-gyp-build'"
    expectAdvice(await answerOf(command), reason, 'incomplete')
  })

  test.runIf(process.platform === 'linux')('with a binary for another system', async () => {
    const command = changed((folder) => writeFileSync(inPackage(folder, binary), 'no library'))
    expectAdvice(await answerOf(command), 'tcp-keepalive.node', 'libc')
  })

  test.runIf(CAN_UNSHARE)('on a file system that executes nothing', async () => {
    const mount = join(work, 'noexec')
    mkdirSync(mount)
    const script = `mount -t tmpfs -o noexec none "$1" && cp -r "$2/." "$1" && exec "$3" "$1/program.cjs"`
    const command = ['unshare', '-m', 'sh', '-c', script, '-', mount, app, process.execPath]
    expectAdvice(await answerOf(command), 'failed to map segment', 'noexec')
  })
})

test('support shows its answers, and loads nothing before', async () => {
  const shown = `
    const { support } = require('tcp-keepalive')
    const before = Object.keys(require.cache).some((file) => file.endsWith('.node'))
    console.log(before)
    console.log(support)
    console.log({ ...support })
  `
  const file = join(app, 'shown.cjs')
  writeFileSync(file, shown)
  const { stdout } = await run([process.execPath, file], { cwd: app })
  const [before, ...lines] = stdout.trimEnd().split('\n')
  expect(before).toBe('false')
  expect(lines.slice(0, lines.length / 2)).toContain('  setKeepalive: true,')
  expect(lines.slice(0, lines.length / 2)).toEqual(lines.slice(lines.length / 2))
  expect(stdout).not.toContain('Getter')
})
