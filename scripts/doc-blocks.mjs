// Part of `npm run lint`: each block of JavaScript or TypeScript in README.md and docs/*.md compiles in
// strict TypeScript, as a module of its own. Names that a reader has around it, such as `socket` or a
// driver, are in doc-blocks/world.d.ts. (docs/api has the examples of the doc comments, which
// test/doc-examples.test.ts compiles and runs.)
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const folder = join(root, 'build', 'doc-blocks')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })

const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
for (const page of ['README.md', ...pages.map((name) => `docs/${name}`)]) {
  const text = readFileSync(join(root, page), 'utf8')
  for (const { index, 1: code } of text.matchAll(/^```(?:js|mjs|cjs|ts)\n([\s\S]*?)^```$/gm)) {
    // As many lines before it as in the page, so that a message names the page's line.
    const before = text.slice(0, index).split('\n').length
    const file = `${page.replace('/', '-')}-${before}.mts`
    writeFileSync(join(folder, file), `${'\n'.repeat(before)}${code}\nexport {}\n`)
  }
}

const config = {
  extends: '../../test/types/tsconfig.json',
  // A block of JavaScript cannot write `override`.
  compilerOptions: { noUnusedLocals: false, noUnusedParameters: false, noImplicitOverride: false },
  include: ['*.mts', '../../scripts/doc-blocks/world.d.ts'],
}
writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
try {
  execFileSync(process.execPath, [tsc, '--project', folder], { cwd: root, stdio: 'inherit' })
} catch {
  process.exitCode = 1
}
