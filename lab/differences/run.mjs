// npm run lab -- differences: what a program sees with the library and without, over who reads, what
// comes, how much lies in the kernel, and the protocol. Ends with 1 where anything differs but
// dead peers.
//
//     --nodes=20,22,24,26   other versions than the running Node, from npm
//     --short               some cells, a quarter of a minute
//     --only=TEXT           cells with this in their name, with all that was seen
//     --write               all versions, and docs/differences.md
//
// Optional: UNDICI_6 and UNDICI_7 name folders in which npm's undici of that version is installed.
import { parseArgs } from 'node:util'
import { findNode, versionOf } from '../support/node.mjs'
import { hasNamespaces, hasTls, runBatch, WAYS } from './batch.mjs'
import { allCells, isDead, shortCells } from './cells.mjs'
import { judge } from './compare.mjs'
import { print, write } from './report.mjs'

const {
  short,
  only,
  write: writes,
  nodes,
} = parseArgs({
  options: {
    short: { type: 'boolean' },
    only: { type: 'string' },
    write: { type: 'boolean' },
    nodes: { type: 'string' },
  },
}).values
const versions = nodes?.split(',') ?? (writes ? ['20', '22', '24', '26'] : [undefined])

const CROWD = short ? 40 : 28
/** What seems to differ is run again so often: Node does not always do the same twice. */
const ROUNDS = [
  { plain: 3, with: 2 },
  { plain: 9, with: 2 },
]

const skipped = new Map()
const cells = (short ? shortCells() : allCells())
  .filter(({ name }) => only === undefined || name.includes(only))
  .filter((cell) => {
    const why = whyNot(cell)
    if (why !== undefined) skipped.set(why, (skipped.get(why) ?? 0) + 1)
    return why === undefined
  })

const runs = []
for (const version of versions) {
  const node = version === undefined ? process.execPath : findNode(version)
  if (node === undefined) throw new Error(`No Node ${version}: name it by NODE${version}.`)
  const began = Date.now()
  const results = await compare(node)
  const seconds = Math.round((Date.now() - began) / 1000)
  const run = { version: versionOf(node), results, seconds }
  runs.push(run)
  print(run, skipped, only !== undefined)
}
if (writes && !short && only === undefined) write(runs, skipped)
const bad = runs.flatMap(({ results }) => results).filter(({ verdict }) => isBad(verdict))
process.exitCode = bad.length === 0 && cells.length > 0 ? 0 : 1

function isBad(verdict) {
  return !['same', 'dead peer', 'Node alone', 'once'].includes(verdict)
}

function whyNot({ buffers, tls, protocol, major }) {
  if (!hasNamespaces && buffers !== 'ordinary') return 'no network namespaces'
  if (!hasTls && tls) return 'no openssl'
  if (protocol === 'undici' && !process.env[`UNDICI_${major}`]) return `no UNDICI_${major}`
  return undefined
}

/** Each cell in each way once; what seems to differ again, for Node differs from itself, too. */
async function compare(node) {
  const major = Number(/\d+/.exec(versionOf(node))[0])
  const ways = Object.keys(WAYS).filter((way) => way !== 'plain' && way !== 'kernel alone')
  const first = await Promise.all(['plain', ...ways].map((way) => inBatches(node, way, cells)))
  const [plain, ...others] = first
  const results = ways.flatMap((way, w) =>
    cells.map((cell, i) => ({
      cell,
      way,
      plain: [plain[i]],
      kernelAlone: [],
      outcomes: [others[w][i]],
    })),
  )
  const decide = (result) => {
    result.verdict = judge(result.cell, major, result)
    return isBad(result.verdict) || result.verdict === 'once'
  }
  let doubtful = results.filter(decide)
  for (const [i, round] of ROUNDS.entries()) {
    // What has come again needs no further proof.
    if (i > 0) doubtful = doubtful.filter(({ verdict }) => verdict === 'once')
    const those = [...new Set(doubtful.map(({ cell }) => cell))]
    const controls = Array.from({ length: round.plain }, () => inBatches(node, 'plain', those))
    const repeats = Array.from({ length: round.with }, () => ways).flat()
    const again = repeats.map(async (way) => {
      const ofWay = doubtful.filter((result) => result.way === way)
      const cells = ofWay.map(({ cell }) => cell)
      const outcomes = await inBatches(node, way, cells)
      ofWay.forEach((result, n) => {
        result.outcomes.push(outcomes[n])
      })
    })
    for (const outcomes of await Promise.all(controls)) {
      for (const result of doubtful) result.plain.push(outcomes[those.indexOf(result.cell)])
    }
    const dead = those.filter(isDead)
    for (let n = 0; n < 2; n++) {
      const outcomes = await inBatches(node, 'kernel alone', dead)
      for (const result of doubtful.filter(({ cell }) => isDead(cell))) {
        result.kernelAlone.push(outcomes[dead.indexOf(result.cell)])
      }
    }
    await Promise.all(again)
    doubtful = doubtful.filter(decide)
  }
  return results
}

/** Cells of one ground together, and those that wait as long. */
async function inBatches(node, way, list) {
  const outcomes = new Map()
  const groups = groupBy(list)
  const batches = [...groups.values()].flatMap((group) => {
    const many = Math.ceil(group.length / CROWD)
    const size = Math.ceil(group.length / many)
    return Array.from({ length: many }, (_, i) => group.slice(i * size, (i + 1) * size))
  })
  await Promise.all(
    batches.map(async (batch) => {
      const results = await runBatch(node, way, batch)
      batch.forEach((cell, i) => {
        outcomes.set(cell, results[i])
      })
    }),
  )
  return list.map((cell) => outcomes.get(cell))
}

function groupOf({ buffers, comes }) {
  return short ? buffers : `${buffers} ${comes.startsWith('silence')}`
}

function groupBy(list) {
  const groups = new Map()
  for (const cell of list) {
    const key = groupOf(cell)
    if (!groups.has(key)) groups.set(key, [])
    groups.get(key).push(cell)
  }
  return groups
}
