// npm run lab -- hostile: live connections on lossy, disordered and flapping paths, dead ones behind
// firewalls and moved addresses; what theory says (theory.mjs) beside what came. Each group
// of rows runs in a network namespace of its own, side by side. Writes
// docs/hostile-network.md; ends with 1 where a row is off.
//
// It takes three minutes. --short takes 12 s and --only=NAME runs one group: both write nothing.
// --long takes 25 minutes: peers that do not read for ten minutes, and that part of the page.
import { spawn } from 'node:child_process'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { jsonLines } from '../support/child.mjs'
import { openGround } from '../support/ground.mjs'
import { insideNamespace } from '../support/namespace.mjs'
import { GROUPS, isShort, LONG } from './rows.mjs'

const { short, only, long, inside } = parseArgs({
  options: {
    short: { type: 'boolean' },
    only: { type: 'string' },
    long: { type: 'boolean' },
    // The group that this process runs.
    inside: { type: 'string' },
  },
}).values

if (inside === undefined) await everyGroup()
else if (insideNamespace()) await oneGroup(LONG[inside]?.rows ?? GROUPS[inside])

async function everyGroup() {
  const { line, write, writeLong } = await import('./report.mjs')
  const names = Object.keys(long ? LONG : GROUPS)
    .filter((name) => only === undefined || name === only)
    .filter((name) => long || !short || GROUPS[name].some(isShort))
  const told = long
    ? await oneAfterTheOther(names)
    : (await Promise.all(names.map(resultsOf))).flat()
  const results = told.filter(({ cells }) => cells !== undefined)
  const late = Math.max(...told.map(({ late = 0 }) => late))
  const dropped = told.reduce((sum, { dropped = 0 }) => sum + dropped, 0)
  const links = `The links were at most ${(1000 * late).toFixed(0)} ms late, and lost ${dropped} packets unintentionally.`
  for (const result of results) console.log(line(result))
  const right = results.filter(({ fine }) => fine).length
  console.log(links)
  console.log(`${right} of ${results.length} rows as predicted`)
  if (only === undefined && long) writeLong(told, links)
  else if (only === undefined && !short) write(results, links)
  const ended = told.some(({ bySweep }) => bySweep > 0)
  process.exitCode = right === results.length && right > 0 && !ended ? 0 : 1
}

async function oneAfterTheOther(names) {
  const told = []
  for (const name of names) told.push(...(await resultsOf(name)))
  return told
}

/** A group that fails as a whole is one result that is off. */
async function resultsOf(group) {
  const hidden = join(import.meta.dirname, '../support/before-6.15.cjs')
  const flags = LONG[group]?.older ? ['--require', hidden] : []
  const args = [...flags, ...process.argv.slice(1), `--inside=${group}`]
  // The debug log says which ones the sweep has ended.
  const env = long ? { ...process.env, NODE_DEBUG: 'tcp-keepalive' } : process.env
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const results = []
  let bySweep = 0
  createInterface({ input: child.stderr }).on('line', (text) => {
    if (/: (silent|stalled) for /.test(text)) bySweep++
    if (!/^TCP-KEEPALIVE /.test(text)) console.error(text)
  })
  for await (const result of jsonLines(child.stdout)) results.push(result)
  if (long && bySweep > 0) results.push({ group, bySweep })
  return results.length > 0 ? results : [{ fine: false, cells: [group, 'has not run at all'] }]
}

async function oneGroup(all) {
  const { run } = await import('./scenarios.mjs')
  const { cellsOf, judge } = await import('./report.mjs')
  const rows = all
    .filter((row) => !short || isShort(row))
    .map((row) => ({ seconds: short ? 5 : 150, ...row }))
  try {
    if (!long) setPriority(-10)
  } catch {
    // Only root may: a busy machine is then part of the path.
  }
  const ground = await openGround()
  const results = await Promise.all(
    rows.map(async (row) => {
      const result = await run(row, ground).catch((error) => ({ problem: error.stack }))
      return { row, ...result, ...judge(row, result) }
    }),
  )
  for (const result of results) {
    const { row, fine } = result
    const { state, answer } = row
    console.log(
      JSON.stringify({ group: inside, fine, cells: cellsOf(result), row: { state, answer } }),
    )
  }
  console.log(JSON.stringify(await ground.close()))
  // What still listens must not keep the group waiting.
  process.exit()
}
