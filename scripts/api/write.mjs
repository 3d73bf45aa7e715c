// `npm run docs`: the pages of docs/api from the doc comments. With --check it writes
// nothing and fails where a page is not what the comments say, or a comment says too little.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readEntry } from './read.mjs'

const folder = join(import.meta.dirname, '..', '..', 'docs', 'api')
const note = '<!-- Written by `npm run docs` from the doc comments in src/: change those. -->'
const entries = [
  { file: 'index.ts', page: 'tcp-keepalive.md', name: 'tcp-keepalive' },
  { file: 'testing.ts', page: 'testing.md', name: 'tcp-keepalive/testing' },
  { file: 'register.ts', page: 'register.md', name: 'tcp-keepalive/register' },
].map((entry) => ({ ...entry, ...readEntry(entry.file) }))

const isCall = ({ kind }) => kind === 'function' || kind === 'const'
/** Those that set something come first. */
const rank = ({ name }) => (name.startsWith('set') ? 0 : 1)
const calls = ({ declarations }) =>
  declarations.filter(isCall).sort((one, other) => rank(one) - rank(other))
const types = ({ declarations }) => declarations.filter((each) => !isCall(each))

/** Where each public name is described. */
const places = new Map(
  entries.flatMap(({ page, declarations }) =>
    declarations.map(({ name }) => [name, `${page}#${name.toLowerCase()}`]),
  ),
)

/** Prose with its links: public names in backticks, and papers beside this folder. */
function linked(text, page, self) {
  return text
    .replace(/`(\w+)`/g, (code, name) =>
      places.has(name) && name !== self ? `[${code}](${places.get(name).replace(page, '')})` : code,
    )
    .replace(/\bdocs\/([-\w]+\.md)/g, '[docs/$1](../$1)')
}

function oneLine(text) {
  return text.replace(/\s+/g, ' ')
}

function fenced(code) {
  return `\`\`\`ts\n${code}\n\`\`\``
}

function list(title, items) {
  return items.length === 0 ? [] : [`**${title}**`, items.map((item) => `- ${item}`).join('\n')]
}

function section(declaration, page) {
  const { name, code, doc, members } = declaration
  const prose = (text) => linked(text, page, name)
  const tag = (key) => (doc[key] ?? []).map(oneLine).map(prose)
  const blocks = [
    `## ${name}`,
    // What an alias is made of may be private: then its words say it.
    ...(code === undefined || /\btypeof\b/.test(code) ? [] : [fenced(code)]),
    prose(doc.prose),
    ...list(
      'Parameters',
      tag('param').map((text) => text.replace(/^(\w+)/, '`$1`:')),
    ),
    ...tag('returns').map((text) => `**Returns** ${text}`),
    ...list(
      'Throws',
      tag('throws').map((text) => text.replace(/^\{(.*?)\}/, '`$1`:')),
    ),
    ...tag('platform').map((text) => `**Platforms** ${text}`),
    ...tag('see').map((text) => `**Sources** ${text}`),
    ...(doc.example ?? []).map(fenced),
  ]
  // A field that is `never` is there to be refused.
  const fields = members.filter(({ type }) => type !== undefined && type !== 'never')
  if (fields.length > 0) blocks.push(table(fields, page))
  return blocks
}

function table(fields, page) {
  const rows = fields.map(({ name, optional, type, doc }) => {
    const given = optional ? type.replace(/ \| undefined$/, '') : type
    const shown = given
      .replace(/(\w)\n/g, '$1;\n')
      .replace(/\s+/g, ' ')
      .replaceAll('|', '\\|')
    const sources = doc?.see ? ` (${oneLine(doc.see.join('; '))})` : ''
    const words = doc ? linked(oneLine(doc.prose), page) + sources : ''
    return `| \`${name}${optional ? '?' : ''}\` | \`${shown}\` | ${words.replaceAll('|', '\\|')} |`
  })
  return ['| field | type | |', '|---|---|---|', ...rows].join('\n')
}

function summary({ name, doc }, page) {
  const [sentence] = oneLine(doc.prose).split(/(?<=[.]) /)
  return `| [\`${name}\`](${places.get(name).replace(page, '')}) | ${linked(sentence, page, name)} |`
}

function contents(declarations, page) {
  if (declarations.length === 0) return []
  return [['| | |', '|---|---|', ...declarations.map((each) => summary(each, page))].join('\n')]
}

function pageOf(entry) {
  const { name, page, doc } = entry
  return [
    note,
    `# ${name}`,
    ...(doc ? [linked(doc.prose, page)] : []),
    ...contents(calls(entry), page),
    ...[...calls(entry), ...types(entry)].flatMap((each) => section(each, page)),
  ]
}

function overview() {
  return [
    note,
    '# API',
    'Seconds for idle and interval, milliseconds for everything else, as the kernel has it. ' +
      '[docs/targets.md](../targets.md) tells what is set when on each kind of target, ' +
      '[docs/platforms.md](../platforms.md) what was run where.',
    ...entries.flatMap((entry) => [
      `## [${entry.name}](${entry.page})`,
      ...(entry.doc ? [linked(entry.doc.prose.split('\n\n')[0], '')] : []),
      ...contents(calls(entry), ''),
    ]),
  ]
}

const pages = { 'README.md': overview() }
for (const entry of entries) pages[entry.page] = pageOf(entry)

const complaints = []
for (const { name, kind, doc, file } of entries.flatMap(({ declarations }) => declarations)) {
  const needed =
    { function: ['throws', 'platform', 'see', 'example'], const: ['example'] }[kind] ?? []
  const missing = ['prose', ...needed].filter((tag) => !doc?.[tag]?.length)
  if (missing.length > 0) complaints.push(`src/${file}: ${name} has no ${missing.join(', ')}`)
}
const check = process.argv.includes('--check')
const current = (page) => {
  try {
    return readFileSync(join(folder, page), 'utf8')
  } catch {
    return undefined
  }
}
if (complaints.length === 0) {
  mkdirSync(folder, { recursive: true })
  for (const page of readdirSync(folder).filter((name) => !Object.hasOwn(pages, name))) {
    if (check) complaints.push(`docs/api/${page} belongs to no entry point`)
    else rmSync(join(folder, page))
  }
  for (const [page, blocks] of Object.entries(pages)) {
    const text = `${blocks.join('\n\n')}\n`
    if (!check) writeFileSync(join(folder, page), text)
    else if (text !== current(page)) complaints.push(`docs/api/${page} is old: npm run docs`)
  }
}
for (const complaint of complaints) console.error(complaint)
process.exitCode = complaints.length === 0 ? 0 : 1
