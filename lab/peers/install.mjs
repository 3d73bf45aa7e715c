import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const here = import.meta.dirname

/** Installs what we compare with. */
export function installPeers() {
  if (!existsSync(join(here, 'node_modules', 'koffi'))) {
    const npm = ['ci', '--prefix', here, '--ignore-scripts', '--no-audit', '--no-fund']
    execFileSync('npm', npm, { stdio: ['ignore', 'ignore', 'inherit'] })
  }
  // sockopt 2.0.1 ships its macOS binary under every platform's name.
  const sockopt = join(here, 'node_modules', 'sockopt')
  if (existsSync(join(sockopt, 'build', 'Release'))) return
  const gyp = join(here, '..', 'node_modules', 'node-gyp', 'bin', 'node-gyp.js')
  execFileSync(process.execPath, [gyp, 'rebuild', '-C', sockopt], { stdio: 'ignore' })
}
