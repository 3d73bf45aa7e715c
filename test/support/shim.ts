/** A kernel that refuses, as a library to preload: see refuse.c. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** Builds it into the folder; undefined where there is no C compiler. */
export function buildShim(folder: string): string | undefined {
  if (process.platform !== 'linux' || spawnSync('cc', ['--version']).status !== 0) return undefined
  const shim = join(folder, 'refuse.so')
  const source = join(__dirname, 'refuse.c')
  const built = spawnSync('cc', [
    '-shared',
    '-fPIC',
    '-Wall',
    '-Werror',
    '-o',
    shim,
    source,
    '-ldl',
  ])
  if (built.status !== 0) throw new Error(String(built.stderr))
  return shim
}
