/** The kernel's rules, held against real deaths and survivals: lab/conformance. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { withoutOwnNetwork } from './support/own-network.ts'
import { PROCESS_MS } from './support/patience.mts'

const script = join(__dirname, '../lab/conformance/run.mjs')
test.skipIf(withoutOwnNetwork !== '')(
  `a short selection of the conformance table dies as predicted${withoutOwnNetwork}`,
  () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, '--short'], {
      encoding: 'utf8',
      timeout: PROCESS_MS,
    })
    const [, right, all] = /(\d+) of (\d+) rows as predicted/.exec(stdout) ?? []
    expect(status, `${stdout}${stderr}`).toBe(0)
    expect(right).toBe(all)
    expect(Number(all)).toBeGreaterThan(30)
  },
)
