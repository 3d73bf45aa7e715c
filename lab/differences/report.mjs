// What is printed, and docs/differences.md.
import { writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { table } from '../support/words.mjs'
import { COMES, protocolOf, READERS } from './cells.mjs'
import { textOf } from './compare.mjs'

const of = (results, verdict) => results.filter((result) => result.verdict === verdict)

export function print({ version, results, seconds }, skipped, everything) {
  const cells = new Set(results.map(({ cell }) => cell)).size
  console.log(
    `\nNode ${version}: ${cells} cells, each in ${results.length / cells} ways (${seconds} s)`,
  )
  for (const [why, many] of skipped) console.log(`  skipped, ${why}: ${many}`)
  console.log(`  dead peers: ${of(results, 'dead peer').length}`)
  console.log(`  dead peers, as Node alone ends them: ${of(results, 'Node alone').length}`)
  const dead = everything ? of(results, 'dead peer') : []
  for (const result of dead) show(result)
  for (const [title, verdict] of [
    ['dead peers that were not noticed', 'unnoticed'],
    ['other differences', 'other'],
    ['differed once, and not again', 'once'],
    ['could not be compared', 'broken'],
  ]) {
    const rows = of(results, verdict)
    console.log(`  ${title}: ${rows.length}`)
    for (const result of rows) show(result)
  }
  if (!everything) return
  console.log('  the same:')
  for (const result of of(results, 'same')) show(result)
}

function show({ cell, way, plain, outcomes, verdict }) {
  console.log(`    ${cell.name} [${way}]`)
  const distinct = (all) => [...new Set(all.map((one) => `${textOf(one)} (${one.bytes} bytes)`))]
  for (const text of distinct(plain)) console.log(`      without: ${text}`)
  if (verdict === 'same') return
  for (const text of distinct(outcomes)) console.log(`      with:    ${text}`)
}

export function write(runs, skipped) {
  writeFileSync(new URL('../../docs/differences.md', import.meta.url), document(runs, skipped))
}

function document(runs, skipped) {
  const list = (items) => items.map((item) => `\`${item}\``).join(', ')
  const [{ results }] = runs
  const cells = [...new Set(results.map(({ cell }) => cell))]
  const protocols = [...new Set(cells.map(protocolOf))]
  const others = runs.flatMap(({ version, results }) =>
    results
      .filter(({ verdict }) => !['same', 'dead peer', 'Node alone'].includes(verdict))
      .map((result) => ({ version, ...result })),
  )
  const ways = [...new Set(results.map(({ way }) => way))]
  return `# What differs from plain Node

Made by \`npm run lab -- differences --write\` on Linux ${release().split('-')[0]}. The same program runs without the library and with
\`--require tcp-keepalive/register\`, each in its own process, and everything that it can observe is compared: the bytes that its consumer
receives, events and their order, errors (code, syscall, message), rejections, uncaught exceptions, the end of the process. Times are
not compared; a program in which nothing happens for 5.5 s (with a dead peer: 7 s) is "still waiting". Node's own result varies between
runs: a case that differs is run again, and counts as a difference only if Node alone did not end in that way in up to thirteen runs.

- **How the socket is read**: ${Object.keys(READERS).join(', ')}.
- **What happens**: ${Object.keys(COMES).join('; ')}.
- **How much unread data is in the kernel**: none, 1 KB, 200 KB, 5 MB, and as much of 5 MB as fits into ordinary buffers.
- **Over**: ${list(protocols)}.
- **With the library**: ${ways.map((way) => `a ${way} of 3 s`).join('; ')}; scope \`all\`.

There are ${cells.length} meaningful combinations.${[...skipped].map(([why, many]) => ` Not run: ${many} (${why}).`).join('')}

${counts(runs)}

## Dead peers

Node alone was still waiting, and would wait for a quarter of an hour or for ever. With the library the error is emitted; a consumer that was
reading has received all data before it.

${deaths(runs)}

## Dead peers, as Node alone ends them

If a consumer reads while the kernel ends the connection, Node's own read finds the error. Node's streams then discard their buffered
data. Up to Node 22, libuv reports data and an error found in the same read as the end of the stream, on which undici fails an assertion
(\`assert(!this.paused)\`) that a program cannot catch. As a control, plain Node was run with the same timeouts set in the kernel and without this
library. It ended in the same way:

${alone(runs)}

## Other differences

If Node's own read or write races with arriving segments, the result varies between runs. A case that differed in only one run
is listed, too.

${others.length === 0 ? 'None.' : tableOf(others)}
`
}

function counts(runs) {
  const head = ['compared', 'the same', 'dead peers', '… as Node alone ends them']
  const rows = runs.map(({ version, results }) => {
    const [same, dead, alone] = ['same', 'dead peer', 'Node alone'].map(
      (verdict) => of(results, verdict).length,
    )
    const rest = results.length - same - dead - alone
    return [`Node ${version.slice(1)}`, results.length, same, dead, alone, rest]
  })
  return table(['', ...head, 'other differences'], rows, 'lrrrrr')
}

function alone(runs) {
  const names = runs.flatMap(({ version, results }) =>
    of(results, 'Node alone').map(({ cell }) => [cell.name, version]),
  )
  const cells = new Map(names.map(([name]) => [name, new Set()]))
  for (const [name, version] of names) cells.get(name).add(version.split('.')[0].slice(1))
  if (cells.size === 0) return 'None.'
  return [...cells]
    .map(([name, versions]) => `- ${name}: Node ${[...versions].join(', ')}`)
    .join('\n')
}

/** The errors, by event and protocol, of all versions together. */
function deaths(runs) {
  const rows = new Map()
  for (const { cell, outcomes } of runs.flatMap(({ results }) => of(results, 'dead peer'))) {
    const key = `${cell.comes} | ${protocolOf(cell)} | still waiting`
    const row = rows.get(key) ?? { errors: new Set(), many: 0 }
    row.many++
    for (const { log } of outcomes) row.errors.add(errorIn(log))
    rows.set(key, row)
  }
  return table(
    ['what happens | over | without', 'with the library', ''],
    [...rows].map(([key, { errors, many }]) => [key, [...errors].join(', '), many]),
    'lllr',
  )
}

function errorIn(log) {
  const text = log.join('; ')
  return (
    /\b(read|write) (ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)\b/.exec(text)?.[0] ??
    (text.includes('close 1006') ? 'close 1006' : 'the end (Node 20, 22)')
  )
}

function tableOf(others) {
  const shown = (outcomes) =>
    [...new Set(outcomes.map((one) => `${textOf(one)} (${one.bytes} bytes)`))]
      .join(' — ')
      .replaceAll('|', '\\|')
  const rows = others.map(({ version, cell, way, plain, outcomes }) => [
    version,
    cell.name,
    way,
    shown(plain),
    shown(outcomes),
  ])
  return table(['Node', '', 'set', 'without', 'with'], rows)
}
