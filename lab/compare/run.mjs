// npm run lab -- compare [--check | --write]: tries what this library does in every other way
// there is, on real sockets, and prints the table of docs/comparison.md. --check fails where the
// it differs, --write writes it there. NODE20, NODE24 and NODE26 may name binaries;
// otherwise npx fetches them. Needs Linux, python3 (the witness) and a C++ compiler (sockopt).
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import { folderOf, installAlternatives } from '../alternatives/index.mjs'
import { endOf, turns } from '../support/child.mjs'
import { findNode, versionOf } from '../support/node.mjs'
import { table } from '../support/words.mjs'

const here = import.meta.dirname
const root = join(here, '../..')
const manifest = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

installAlternatives()
const node20 = process.version.startsWith('v20.') ? process.execPath : findNode(20)
const node24 = findNode(24)
const node26 = findNode(26)
if (!node20 || !node24 || !node26)
  throw new Error('No Node 20, 24 or 26: name it by NODE20, NODE24, NODE26.')

const FFI = ['--experimental-ffi', '--no-warnings']
/** Two programs of one column are shown as one where they came out alike. */
const columns = [
  { title: 'Node 20', runs: { 20: [node20, 'node'] } },
  { title: 'Node 24, 26', runs: { 24: [node24, 'node'], 26: [node26, 'node'] } },
  { title: 'net-keepalive 4', runs: { 4: [node20, 'net-keepalive'] } },
  { title: 'sockopt 2', runs: { 2: [node20, 'sockopt'] } },
  {
    title: 'FFI: koffi, node:ffi',
    runs: { koffi: [node20, 'koffi'], 'node:ffi': [node26, 'node:ffi', FFI] },
  },
  { title: '**tcp-keepalive**', runs: { ours: [node20, 'tcp-keepalive'] } },
]

async function answer(binary, subject, cell, flags = []) {
  const args = [...flags, join(here, 'cell.mjs'), subject, cell]
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })
  const { code, signal, stdout, stderr } = await endOf(child)
  if (signal) return `the process ends with ${signal}`
  if (code !== 0) throw new Error(`${subject}, ${cell}: ${stderr}`)
  return JSON.parse(stdout)
}

// Most of them wait for the kernel; more at once would make some of them late.
const inTurn = turns(8)

/** What one column says of some cells. */
async function tried({ runs }, cells) {
  const texts = Object.entries(runs).map(async ([name, [binary, subject, flags]]) => {
    const answers = cells.map((cell) => inTurn(() => answer(binary, subject, cell, flags)))
    return [name, (await Promise.all(answers)).join(' · ')]
  })
  const told = await Promise.all(texts)
  const alike = told.every(([, text]) => text === told[0][1])
  return alike ? told[0][1] : told.map(([name, text]) => `${name}: ${text}`).join('; ')
}

/** From docs/benchmarks.md, where `npm run lab -- bench` writes it. */
function cost() {
  const page = readFileSync(join(root, 'docs', 'benchmarks.md'), 'utf8')
  const row = page.split('\n').find((line) => line.startsWith('| `setKeepalive(socket, {…})`'))
  const of = (name) => `${row.match(new RegExp(`${name} ([\\d.]+) ×`))[1]} ×`
  const ours = `${row.match(/\| ([\d.]+) \[/)[1]} ×`
  const [node, node26] = [of('node'), of('node, 4 arguments \\(Node 26\\)')]
  const ffi = `node:ffi ${of('node:ffi \\(Node 26\\)')}`
  return [node, node26, of('net-keepalive'), of('sockopt'), ffi, ours]
}

const FORMATS = { linux: '7f454c46', darwin: 'cffaedfe', win32: '4d5a9000' }
/** Platforms for which a binary comes with the package, and is one of that platform. */
function binaries() {
  const names = readdirSync(join(folderOf('sockopt'), 'prebuilds'))
  const right = names.filter((name) => {
    const file = join(folderOf('sockopt'), 'prebuilds', name, 'node.napi.node')
    return readFileSync(file).toString('hex', 0, 4) === FORMATS[name.split('-')[0]]
  })
  const sockopt = `${right.length} (${names.length - right.length} more are of the wrong system)`
  const optional = (name) => Object.keys(manifest(folderOf(name)).optionalDependencies).length
  const sums = readFileSync(join(root, 'prebuilds', 'SHA256SUMS'), 'utf8')
    .trim()
    .split('\n')
  const ffi = `koffi: ${optional('koffi')}; node:ffi: built in`
  return ['built in', 'built in', `${optional('ffi-rs')}`, sockopt, ffi, `${sums.length}`]
}

const rows = [
  ['An idle connection to a dead peer fails, after the 6 s that were set', 'idle'],
  ['… with a query in flight, after 3 s', 'inFlight'],
  ['… while it connects, after 2 s', 'connecting'],
  [
    'Ends a connection to a dead peer in flight, and none to a live one that does not read',
    'slowReader',
  ],
  ['The error comes on a socket that is not being read', 'unread'],
  ['Settings survive `setKeepAlive(true, 1000)`, as agents and drivers call it', 'holds'],
  ['Sets idle, interval, count, user timeout', 'options'],
  ['… right after `net.connect()`', 'early'],
  ['… on a server, for all its connections', 'server'],
  ['Reads them back from the kernel', 'readBack'],
  [
    'The error for count 200 · a Unix-domain socket · a destroyed one',
    'refusal',
    'unixSocket',
    'destroyed',
  ],
  ["Refuses NaN, −1, 0, 1.5, 2⁴⁰, '30', null, {}, 1n, a symbol as interval", 'wrongValues'],
  ['Sets any other integer option, too', 'anyOption'],
]
const readings = [
  ['Time of a repeated set, by its bare system calls ([benchmarks](benchmarks.md))', cost()],
  ['Platforms with a prebuilt binary', binaries()],
]
// Nothing here could be run on them.
const told = [
  [
    'macOS, Windows (of the others by their documentation)',
    'yes',
    'yes',
    'macOS; does nothing on Windows',
    'with their option numbers',
    'with their option numbers',
    '[Windows under wine, macOS built](platforms.md)',
  ],
]

const tested = rows.map(async ([label, ...cells]) => {
  return [label, ...(await Promise.all(columns.map((column) => tried(column, cells))))]
})
const body = [
  ...(await Promise.all(tested)),
  ...readings.map(([label, all]) => [label, ...all]),
  ...told,
]
const compared = table(['', ...columns.map(({ title }) => title)], body)

const nodes = [node20, node24, node26].map((binary) => versionOf(binary).slice(1))
const others = ['net-keepalive', 'sockopt', 'koffi'].map(
  (name) => `${name} ${manifest(folderOf(name)).version}`,
)
const foot = `By \`npm run lab -- compare\` on Linux ${release().split('-')[0]} with Node ${nodes.join(', ')}, ${others.join(', ')}.`
const text = [compared, '', foot].join('\n')
console.log(text)

const PAGE = join(root, 'docs', 'comparison.md')
const PART = /(<!-- compare -->\n)([\s\S]*?)(<!-- compared -->)/
const page = readFileSync(PAGE, 'utf8')
if (process.argv.includes('--write')) {
  writeFileSync(
    PAGE,
    page.replace(PART, (_, begin, __, end) => `${begin}${text}\n${end}`),
  )
}
if (process.argv.includes('--check')) {
  const there =
    page
      .match(PART)?.[2]
      .split('\n')
      .filter((each) => each.startsWith('|')) ?? []
  const lines = compared.split('\n')
  const differing = lines.filter((each, index) => each !== there[index])
  for (const each of differing) console.error(`docs/comparison.md differs: ${each}`)
  if (differing.length > 0 || there.length !== lines.length) process.exitCode = 1
}
