// For a platform without a prebuild: packs this build, with this machine's binary where
// the release has all of them, and leaves prebuilds/ alone.
//   npm ci && npm run pack:local
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const work = mkdtempSync(join(tmpdir(), 'pack-'))
process.on('exit', () => rmSync(work, { recursive: true, force: true }))

const { name, files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
for (const part of ['package.json', 'README.md', 'LICENSE', ...files]) {
  if (existsSync(join(root, part))) cpSync(join(root, part), join(work, part), { recursive: true })
}
// Without a libc's tag, because it is for this machine's own.
const binary = join('prebuilds', `${process.platform}-${process.arch}`, `${name}.node`)
cpSync(join(root, 'build/Release/tcp_keepalive.node'), join(work, binary))

execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', root], {
  cwd: work,
  stdio: 'inherit',
  shell: process.platform === 'win32',
})
