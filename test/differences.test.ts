/** A share of what a program sees with the library and without: lab/differences. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from './support/child.ts'
import { withoutOwnNetwork } from './support/own-network.ts'

const script = join(__dirname, '../lab/differences/run.mjs')

test.skipIf(withoutOwnNetwork !== '')(
  `with the library a program sees what it sees without, but for its dead peers${withoutOwnNetwork}`,
  async () => {
    const { code, stdout, stderr } = await run([process.execPath, script, '--short'])
    expect(code, `${stdout}${stderr}`).toBe(0)
    const [, dead] = /dead peers: (\d+)/.exec(stdout) ?? []
    expect(Number(dead)).toBeGreaterThan(10)
  },
)
