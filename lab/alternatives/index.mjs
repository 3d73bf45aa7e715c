// What this library is compared with, from npm.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const here = import.meta.dirname

/** `require` that finds them. */
export const requireAlternative = createRequire(import.meta.url)

/** Where one of them is installed. */
export const folderOf = (name) => join(here, 'node_modules', name)

export function installAlternatives() {
  if (!existsSync(folderOf('koffi'))) {
    const npm = ['ci', '--prefix', here, '--ignore-scripts', '--no-audit', '--no-fund']
    execFileSync('npm', npm, { stdio: ['ignore', 'ignore', 'inherit'] })
  }
  // sockopt 2.0.1 ships its macOS binary under every platform's name.
  const sockopt = folderOf('sockopt')
  if (existsSync(join(sockopt, 'build', 'Release'))) return
  const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')
  execFileSync(process.execPath, [gyp, 'rebuild', '-C', sockopt], { stdio: 'ignore' })
}
