// A part of a page that a laboratory makes, between <!-- NAME --> and <!-- end of NAME -->.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export function writePart(page, name, text) {
  const file = join(import.meta.dirname, '../..', page)
  const [begin, end] = [`<!-- ${name} -->\n`, `<!-- end of ${name} -->`]
  const whole = readFileSync(file, 'utf8')
  const [from, to] = [whole.indexOf(begin) + begin.length, whole.indexOf(end)]
  if (from < begin.length || to < from) throw new Error(`${page} has no part for ${name}.`)
  writeFileSync(file, `${whole.slice(0, from)}\n${text}\n\n${whole.slice(to)}`)
}
