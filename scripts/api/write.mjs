// `npm run docs`: the pages of docs/api from the doc comments. With --check it writes
// nothing and fails where a page is not what the comments say, or a comment says too little.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readEntry } from './read.mjs'

const folder = join(import.meta.dirname, '..', '..', 'docs', 'api')
const note = '<!-- Written by `npm run docs` from the doc comments in src/: change those. -->'
const others = `See also [tcp-keepalive/testing](testing.md), which unplugs a socket, and
[tcp-keepalive/register](register.md), which sets whole programs. [docs/targets.md](../targets.md) says what is
set when on each kind of target, [docs/platforms.md](../platforms.md) what was run where.`

const pages = [
  { file: 'index.ts', page: 'README.md', name: 'tcp-keepalive' },
  { file: 'testing.ts', page: 'testing.md', name: 'tcp-keepalive/testing' },
  { file: 'register.ts', page: 'register.md', name: 'tcp-keepalive/register' },
].map((page) => ({ ...page, ...readEntry(page.file) }))

const isCall = ({ kind }) => kind === 'function' || kind === 'const'
/** Functions, those that set something first; then types. */
const rank = (each) => (isCall(each) ? (each.name.startsWith('set') ? 0 : 1) : 2)
const everything = pages.flatMap(({ page, declarations }) => {
  declarations.sort((one, other) => rank(one) - rank(other))
  return declarations.map((declaration) => ({ ...declaration, page }))
})
const pageOf = new Map(everything.map(({ name, page }) => [name, page]))

const oneLine = (text) => text.replace(/\s+/g, ' ')
const fenced = (code) => `\`\`\`ts\n${code}\n\`\`\``

function link(name, page) {
  const other = pageOf.get(name)
  return `[\`${name}\`](${other === page ? '' : other}#${name.toLowerCase()})`
}

/** Prose with its links: public names in backticks, and papers beside this folder. */
function linked(text, page, self) {
  return text
    .replace(/`(\w+)`/g, (code, name) =>
      pageOf.has(name) && name !== self ? link(name, page) : code,
    )
    .replace(/\bdocs\/([-\w]+\.md)/g, '[docs/$1](../$1)')
}

function section({ name, code, doc, members }, page) {
  const tag = (key) => (doc[key] ?? []).map((text) => linked(oneLine(text), page, name))
  const list = (key, title, lead) => {
    const items = tag(key).map((text) => text.replace(lead, '- `$1`:'))
    return items.length === 0 ? [] : [`**${title}**`, items.join('\n')]
  }
  // A field that is `never` is there to be refused.
  const fields = members.filter(({ type }) => type !== undefined && type !== 'never')
  return [
    `## ${name}`,
    // What an alias is made of may be private: then its words say it.
    ...(code === undefined || /\btypeof\b/.test(code) ? [] : [fenced(code)]),
    linked(doc.prose, page, name),
    ...list('param', 'Parameters', /^(\w+)/),
    ...tag('returns').map((text) => `**Returns** ${text}`),
    ...list('throws', 'Throws', /^\{(.*?)\}/),
    ...tag('platform').map((text) => `**Platforms** ${text}`),
    ...tag('see').map((text) => `**Sources** ${text}`),
    ...(doc.example ?? []).map(fenced),
    ...(fields.length > 0 ? [table(fields, page)] : []),
  ]
}

function table(fields, page) {
  const rows = fields.map(({ name, optional, type, doc }) => {
    const given = optional ? type.replace(/ \| undefined$/, '') : type
    const shown = oneLine(given.replace(/(\w)\n/g, '$1;\n'))
    const sources = doc?.see ? ` (${oneLine(doc.see.join('; '))})` : ''
    const words = doc ? linked(oneLine(doc.prose), page) + sources : ''
    const cells = [`\`${name}${optional ? '?' : ''}\``, `\`${shown}\``, words]
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  })
  return ['| field | type | |', '|---|---|---|', ...rows].join('\n')
}

function contents(declarations, page) {
  const rows = declarations.filter(isCall).map(({ name, doc }) => {
    const [sentence] = oneLine(doc.prose).split(/(?<=\.) /)
    return `| ${link(name, page)} | ${linked(sentence, page, name)} |`
  })
  return rows.length === 0 ? [] : [['| | |', '|---|---|', ...rows].join('\n')]
}

const complaints = []
const NEEDED = { function: ['throws', 'platform', 'see', 'example'], const: ['example'] }
for (const { name, kind, doc, file } of everything) {
  const missing = ['prose', ...(NEEDED[kind] ?? [])].filter((tag) => !doc?.[tag]?.length)
  if (missing.length > 0) complaints.push(`src/${file}: ${name} has no ${missing.join(', ')}`)
}
for (const { name, page, doc, declarations } of complaints.length === 0 ? pages : []) {
  const intro = doc ? linked(doc.prose, page) : others
  const sections = declarations.flatMap((each) => section(each, page))
  const blocks = [note, `# ${name}`, intro, ...contents(declarations, page), ...sections]
  const text = `${blocks.join('\n\n')}\n`
  const path = join(folder, page)
  if (!process.argv.includes('--check')) writeFileSync(path, text)
  else if (!existsSync(path) || readFileSync(path, 'utf8') !== text)
    complaints.push(`docs/api/${page} is not what the doc comments say: npm run docs`)
}
for (const complaint of complaints) console.error(complaint)
process.exitCode = complaints.length === 0 ? 0 : 1
