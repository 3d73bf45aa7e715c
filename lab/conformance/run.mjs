// npm run lab -- conformance: real connections die and survive side by side, and what
// came is held against what src/kernel/rules.ts says. Writes docs/detection.md
// and docs/detection.svg; ends with 1 where a row is off.
//
// It takes two minutes. --long adds a quarter of an hour; --short takes 15 s and --only=TEXT
// runs the rows of such a state: both write nothing.
//
// Two processes run the rows, each in a network namespace of its own: one on the host as it is,
// one with the host as a kernel before Linux 6.15 shows itself (support/before-6.15.cjs).
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { jsonLines } from '../support/child.mjs'
import { openGround } from '../support/ground.mjs'
import { insideNamespace } from '../support/namespace.mjs'
import { longRows, rows, shortRows } from './rows.mjs'

const { only, long, short, older, within } = parseArgs({
  options: {
    only: { type: 'string' },
    long: { type: 'boolean' },
    short: { type: 'boolean' },
    // By what part of its time a row may be off; 0.05.
    within: { type: 'string' },
    // Of the two processes, which this one is.
    older: { type: 'string' },
  },
}).values

const chosen = (short ? shortRows : long ? [...rows, ...longRows] : rows).filter(
  ({ state }) => only === undefined || state.includes(only),
)
const isOlder = ({ set }) => Boolean(set.older)

if (older === undefined) await everyRow()
else if (insideNamespace()) await rowsOf(older === 'true')

async function everyRow() {
  const { describe, judge, write } = await import('./report.mjs')
  console.log(`${chosen.length} rows at once`)
  const results = []
  const tell = ({ nth, ...result }) => {
    const row = chosen[nth]
    const judged = {
      row,
      ...result,
      ...judge({ ...(within && { within: Number(within) }), ...row }, result),
    }
    console.log(describe(judged))
    results[nth] = judged
  }
  await Promise.all([false, true].map((olds) => resultsOf(olds, tell)))
  chosen.forEach((_, nth) => {
    if (results[nth] === undefined) tell({ nth, problem: 'has not run at all' })
  })
  const off = results.filter(({ fine }) => !fine)
  console.log(`${results.length - off.length} of ${results.length} rows as predicted`)
  for (const result of off) console.log('OFF', describe(result))
  if (only === undefined && !short) await write(results)
  process.exitCode = off.length > 0 ? 1 : 0
}

async function resultsOf(olds, tell) {
  if (!chosen.some((row) => isOlder(row) === olds)) return
  const hidden = join(import.meta.dirname, '../support/before-6.15.cjs')
  const args = [...(olds ? ['--require', hidden] : []), ...process.argv.slice(1), `--older=${olds}`]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const result of jsonLines(child.stdout)) tell(result)
}

async function rowsOf(olds) {
  const { run } = await import('./scenarios.mjs')
  const ground = await openGround()
  await Promise.all(
    chosen.map(async (row, nth) => {
      if (isOlder(row) !== olds) return
      const result = await run(row, ground).catch((error) => ({ problem: error.message }))
      console.log(JSON.stringify({ nth, ...result }))
    }),
  )
  await ground.close()
  process.exit()
}
