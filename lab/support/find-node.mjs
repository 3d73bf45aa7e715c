import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'

/** The binary of a Node version: NODE24 or NODE26 of the environment, or what npx fetches. */
export function findNode(major) {
  const named = process.env[`NODE${major}`]
  if (named) return named
  const print = ['--', 'node', '-p', 'process.execPath']
  const npx = ['-y', '--ignore-scripts=false', '-p', `node@${major}`, ...print]
  const options = { encoding: 'utf8', cwd: tmpdir(), timeout: 300_000 }
  const { status, stdout } = spawnSync('npx', npx, options)
  return status === 0 ? stdout.trim().split('\n').at(-1) : undefined
}
