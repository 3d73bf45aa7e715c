/** Lossy, disordered and flapping paths, firewalls that reject, addresses that move: lab/hostile. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from './support/child.ts'
import { withoutOwnNetwork } from './support/own-network.ts'

const script = join(__dirname, '../lab/hostile/run.mjs')

test.skipIf(withoutOwnNetwork !== '')(
  `on a hostile network the dead are errors in time, and the living are kept${withoutOwnNetwork}`,
  async () => {
    const { code, stdout, stderr } = await run([process.execPath, script, '--short'])
    const [, right, all] = /(\d+) of (\d+) rows as predicted/.exec(stdout) ?? []
    expect(code, `${stdout}${stderr}`).toBe(0)
    expect(right).toBe(all)
    expect(Number(all)).toBeGreaterThan(40)
  },
)
