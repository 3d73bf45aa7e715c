// What the package exports, with its doc comments, as plain data. The native TypeScript 7
// has no interface that typedoc or api-extractor could use, so a parser reads the source:
// `isolatedDeclarations` makes every exported type stand there in full.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync } from 'oxc-parser'

const src = join(import.meta.dirname, '..', '..', 'src')

/** The module's own doc comment, and what it exports, in the order of its text. */
export function readEntry(file) {
  const { text, body, docBefore } = parse(file)
  const exported = body.filter((node) => node.type === 'ExportNamedDeclaration')
  const declarations = exported.flatMap((node) =>
    node.source === null
      ? declarationIn(file, node.declaration.id?.name ?? node.declaration.declarations[0].id.name)
      : node.specifiers.map(({ local }) =>
          declarationIn(node.source.value.replace(/^\.\/(.*)\.js$/, '$1.ts'), local.name),
        ),
  )
  const doc = text.startsWith('/**') ? docBefore({ start: text.indexOf('*/') + 3 }) : undefined
  return { doc, declarations }
}

function declarationIn(file, name) {
  const { text, body, docBefore } = parse(file)
  const of = (node) => text.slice(node.start, node.end)
  for (const outer of body) {
    const node = outer.declaration
    if (!node || (node.id ?? node.declarations?.[0].id)?.name !== name) continue
    const doc = docBefore(outer)
    const members = (node.body?.body ?? [])
      .filter(({ key, kind, override }) => key && kind !== 'constructor' && !override)
      .map((member) => ({
        name: of(member.key),
        optional: member.optional,
        type: member.typeAnnotation && of(member.typeAnnotation.typeAnnotation),
        doc: docBefore(member),
      }))
    const calls = (node.body?.body ?? []).filter(
      ({ type }) => type === 'TSCallSignatureDeclaration',
    )
    const common = { name, doc, file, members }
    switch (node.type) {
      case 'FunctionDeclaration':
        return { ...common, kind: 'function', code: text.slice(node.start, node.body.start).trim() }
      case 'VariableDeclaration':
        return { ...common, kind: 'const', code: `const ${of(node.declarations[0].id)}` }
      case 'TSInterfaceDeclaration':
        return { ...common, kind: 'type', code: calls.length > 0 ? of(node) : heir(node, text) }
      case 'TSTypeAliasDeclaration':
        return { ...common, kind: 'type', code: of(node) }
      case 'ClassDeclaration':
        return { ...common, kind: 'class', code: heir(node, text) }
    }
  }
  throw new Error(`${file} exports no ${name} that could be documented`)
}

/** `interface A extends B`, without its body; nothing where there is no B. */
function heir(node, text) {
  const heading = text.slice(node.start, node.body.start).trim()
  return heading.includes(' extends ') ? heading : undefined
}

const parsed = new Map()

function parse(file) {
  if (!parsed.has(file)) {
    const text = readFileSync(join(src, file), 'utf8')
    const { program, comments, errors } = parseSync(file, text)
    if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`)
    const docBefore = ({ start }) => {
      const comment = comments.findLast(({ end }) => end <= start)
      if (!comment?.value.startsWith('*') || text.slice(comment.end, start).trim() !== '') return
      return readDoc(comment.value)
    }
    parsed.set(file, { text, body: program.body, docBefore })
  }
  return parsed.get(file)
}

/** A doc comment's prose, and the texts of each tag. */
function readDoc(comment) {
  const text = comment.replace(/^\*/, '').replace(/\n[ \t]*\* ?/g, '\n')
  const [prose, ...rest] = text.split(/^@(?=[a-z]+\b)/m)
  const tags = {}
  for (const part of rest) {
    const [, tag, value] = /^([a-z]+)[ \t]*([\s\S]*)$/.exec(part)
    tags[tag] = [...(tags[tag] ?? []), value.trim()]
  }
  return { prose: prose.trim(), ...tags }
}
