// Other versions of Node.
import { execFileSync, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'

/** The binary of a Node version: NODE20, NODE22 and so on of the environment, or what npx fetches. */
export function findNode(major) {
  const named = process.env[`NODE${major}`]
  if (named) return named
  const print = ['--', 'node', '-p', 'process.execPath']
  const npx = ['-y', '--ignore-scripts=false', '-p', `node@${major}`, ...print]
  const options = { encoding: 'utf8', cwd: tmpdir(), timeout: 300_000 }
  const { status, stdout } = spawnSync('npx', npx, options)
  return status === 0 ? stdout.trim().split('\n').at(-1) : undefined
}

/** As `process.version` is there. */
export const versionOf = (node) => execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
