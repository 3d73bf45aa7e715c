// npm run lab -- gdb app.js: the native part with symbols and without optimization,
// under gdb, stopped where it sets an option. Beside the ordinary build, which stays.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const run = (command, args, env) =>
  spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })

const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')
const built = run(process.execPath, [gyp, 'configure', 'build', '--debug', '--loglevel=warn'])
if (built.status !== 0) process.exit(built.status ?? 1)

// node-gyp-build takes build/Release before build/Debug: it gets a folder with the latter alone.
const folder = join(root, 'build', 'gdb')
mkdirSync(join(folder, 'build'), { recursive: true })
const link = join(folder, 'build', 'Debug')
if (!existsSync(link)) symlinkSync(join('..', '..', 'Debug'), link)

const args = process.argv.length > 2 ? process.argv.slice(2) : ['dist/cli.js', 'check']
const stops = ['set breakpoint pending on', 'break keepalive::SetOption', 'run']
const gdb = ['-q', ...stops.flatMap((command) => ['-ex', command]), '--args', process.execPath]
const { error, status } = run('gdb', [...gdb, ...args], { TCP_KEEPALIVE_PREBUILD: folder })
if (error) console.error(`${error.message}: scripts/setup-debian gdb`)
process.exitCode = status ?? 1
