/** The binding itself, under any arguments: a number each time, and nobody else's socket touched. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from './support/child.ts'
import { CALLS, SEED } from './support/fuzz.ts'
import { PROCESS_MS, TEST_MS } from './support/patience.mts'

const script = join(__dirname, 'support', 'raw-calls.cjs')
const skipped = process.platform === 'linux' ? '' : ' (skipped: needs the descriptors of Linux)'

test.skipIf(skipped !== '')(
  `${CALLS} random calls neither crash, hang, throw nor touch another socket${skipped}`,
  async () => {
    const ended = await run([process.execPath, script, String(CALLS), String(SEED)], {
      timeout: PROCESS_MS + CALLS / 2,
    })
    // With a third argument, 0, the script prints each call: the last one is the one.
    expect(ended, `node ${script} ${CALLS} ${SEED}`).toMatchObject({
      code: 0,
      signal: null,
      stderr: '',
    })
    const { calls, results, noticed } = JSON.parse(ended.stdout)
    expect(calls).toBe(CALLS)
    // Calls of every function have got through, and of every function some were refused.
    for (const [name, [accepted, refused]] of Object.entries<[number, number]>(results)) {
      expect(accepted, name).toBeGreaterThan(CALLS / 2000)
      const cannotFail = name === 'now' || name === 'capabilities'
      if (!cannotFail) expect(refused, name).toBeGreaterThan(CALLS / 100)
    }
    expect(noticed).toBeGreaterThan(0)
  },
  TEST_MS + CALLS / 2,
)
