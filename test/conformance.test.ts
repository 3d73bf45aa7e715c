import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const script = join(__dirname, '../scripts/conformance/run.mjs')
const flags = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net']

/** A namespace, and a TUN device in it. */
const possible =
  process.platform === 'linux' &&
  existsSync('/dev/net/tun') &&
  spawnSync('unshare', [...flags, 'python3', '-c', 'open("/dev/net/tun", "r+b", 0)']).status === 0

test.runIf(possible)(
  `a short selection of the conformance table dies as predicted${possible ? '' : ' (skipped: no network namespace with a TUN device here)'}`,
  () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--short'], {
      encoding: 'utf8',
      timeout: 80_000,
    })
    const [, right, all] = /(\d+) of (\d+) rows as predicted/.exec(stdout) ?? []
    expect(status, `${stdout}${stderr}`).toBe(0)
    expect(right).toBe(all)
    expect(Number(all)).toBeGreaterThan(30)
  },
  90_000,
)
