#!/usr/bin/env node
// The random tests of `npm test`, as long as one likes:
//   npm run lab -- fuzz                                     100,000 cases, 1,000,000 raw calls
//   npm run lab -- fuzz --seed 7 --cases 5000 --calls 20000
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    cases: { type: 'string', default: '100000' },
    calls: { type: 'string', default: '1000000' },
  },
})
console.log(`seed ${values.seed}: ${values.cases} cases, ${values.calls} raw calls`)
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=verbose']
const { status } = spawnSync(
  process.execPath,
  [...vitest, 'test/fuzz-', 'test/raw-calls.test.ts'],
  {
    cwd: join(import.meta.dirname, '..'),
    stdio: 'inherit',
    env: {
      ...process.env,
      FUZZ_SEED: values.seed,
      FUZZ_CASES: values.cases,
      FUZZ_CALLS: values.calls,
    },
  },
)
process.exitCode = status ?? 1
