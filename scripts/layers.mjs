// Part of `npm run lint`: what may import what. The layers are read from docs/architecture.md,
// so that there is one list of them. (Cycles, and packages that only one file may know, are
// biome's business; its `noRestrictedImports` would need a list of files for every layer.)
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'

const root = join(import.meta.dirname, '..')
const page = readFileSync(join(root, 'docs', 'architecture.md'), 'utf8')
const layers = /^```layers\n([\s\S]*?)^```/m.exec(page)[1].trim().split('\n')
/** 0 is the highest. */
const heights = new Map(
  layers.flatMap((line, height) => line.split(/ +/).map((name) => [name, height])),
)

const folderOf = (name) => posix.dirname(name)
const heightOf = (name) => heights.get(name) ?? heights.get(`${folderOf(name)}/*`)

const complaints = []
for (const file of readdirSync(join(root, 'src'), { recursive: true })) {
  if (!file.endsWith('.ts')) continue
  const name = file.replaceAll(sep, '/').slice(0, -'.ts'.length)
  if (heightOf(name) === undefined) complaints.push(`${name} is in no layer`)
  const text = readFileSync(join(root, 'src', file), 'utf8')
  for (const [, path] of text.matchAll(/\b(?:from|import|require) ?\(?'(\.[^']+)\.js'/g)) {
    const target = posix.join(folderOf(name), path)
    if (heightOf(target) < heightOf(name)) {
      complaints.push(`${name} imports ${target}, which is above it`)
    }
  }
}
for (const complaint of complaints) console.error(`src: ${complaint} (docs/architecture.md)`)
process.exitCode = complaints.length === 0 ? 0 : 1
