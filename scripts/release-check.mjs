// What a release must not go out with: `node scripts/release-check.mjs`, before the tag and again where
// it is published.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = process.argv[2] ?? join(import.meta.dirname, '..')
const read = (file) => readFileSync(join(root, file), 'utf8')
const manifest = JSON.parse(read('package.json'))
const problems = []

for (const [field, value] of [
  ['repository.url', manifest.repository?.url],
  ['homepage', manifest.homepage],
  ['bugs.url', manifest.bugs?.url],
]) {
  if (!value || value.includes('OWNER')) {
    problems.push(`package.json: ${field} is ${value ?? 'absent'}: name the project's own.`)
  }
}

const { version } = manifest
const heading = read('CHANGELOG.md')
  .split('\n')
  .find((line) => line.startsWith(`## ${version} `))
if (!/\(\d{4}-\d{2}-\d{2}\)$/.test(heading ?? '')) {
  problems.push(`CHANGELOG.md: "## ${version} (year-month-day)" is not there.`)
}

for (const problem of problems) console.error(problem)
process.exitCode = problems.length > 0 ? 1 : 0
