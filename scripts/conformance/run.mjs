// npm run conformance: real connections die and survive side by side, and what
// came is held against what src/kernel-rules.ts says. Writes docs/detection.md
// and docs/detection.svg; ends with 1 where a row is off.
//
// It takes two minutes. --long adds a quarter of an hour; --short takes 15 s and --only=TEXT
// runs the rows of such a state: both write nothing.
import { insideNamespace, openGround } from './ground.mjs'
import { longRows, rows, shortRows } from './rows.mjs'

if (insideNamespace()) await main()

async function main() {
  const { run } = await import('./scenarios.mjs')
  const { describe, judge, write } = await import('./report.mjs')
  const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice(7)
  const long = process.argv.includes('--long')
  const short = process.argv.includes('--short')
  const chosen = (short ? shortRows : long ? [...rows, ...longRows] : rows).filter(
    ({ state }) => only === undefined || state.includes(only),
  )
  const ground = await openGround()
  console.log(`${chosen.length} rows at once`)
  const results = await Promise.all(
    chosen.map(async (row) => {
      const result = await run(row, ground).catch((error) => ({ problem: error.message }))
      const judged = { row, ...result, ...judge(row, result) }
      console.log(describe(judged))
      return judged
    }),
  )
  await ground.close()
  const off = results.filter(({ fine }) => !fine)
  console.log(`${results.length - off.length} of ${results.length} rows as predicted`)
  for (const result of off) console.log('OFF', describe(result))
  if (only === undefined && !short) await write(results)
  process.exit(off.length > 0 ? 1 : 0)
}
