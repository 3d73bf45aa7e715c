// docs/kernels.md, of what the guests have said.
import { table } from '../support/words.mjs'

const last = (lines, pattern) => lines.findLast((line) => pattern.test(line))

function check({ code, lines = [] } = {}) {
  const deaths = lines.filter((line) => / ETIMEDOUT$/.test(line)).length
  return code === 0
    ? `all as predicted, ${deaths} of them deaths`
    : `**${last(lines, /not as predicted/) ?? 'failed'}**`
}

function conformance({ lines = [] } = {}) {
  return last(lines, /rows as predicted/)?.replace(' rows as predicted', '') ?? 'not over'
}

function test({ passed, skipped, failed, problem } = { problem: 'not run' }) {
  if (problem) return problem
  const skips = skipped > 0 ? `, ${skipped} skipped` : ''
  return failed.length === 0
    ? `${passed}${skips}`
    : `${passed}${skips}, **${failed.length} failed**`
}

function differences({ version, parts }) {
  const lines = []
  for (const line of parts.conformance?.lines ?? [])
    if (line.startsWith('OFF '))
      lines.push(`- conformance: ${line.slice(4).replace(/\s+/g, ' ').trim()}`)
  for (const [name, { failed = [] }] of Object.entries(parts))
    for (const each of failed) lines.push(`- ${name}: *${each.name}*: ${each.message ?? ''}`)
  return `### ${version}\n\n${lines.join('\n') || 'Nothing.'}\n`
}

export function document(results, host) {
  const names = [...new Set(results.flatMap(({ parts }) => Object.keys(parts)))].filter((name) =>
    name.startsWith('test '),
  )
  const row = (title, cell) => [title, ...results.map(cell)]
  const rows = [
    row('`npx tcp-keepalive check`', ({ parts }) => check(parts.check)),
    row('conformance, rows within prediction', ({ parts }) => conformance(parts.conformance)),
    ...names.map((name) => row(name, ({ parts }) => test(parts[name]))),
  ]
  return `# Older kernels

Everything else in these pages was run on Linux ${host}. \`npm run lab -- kernels\` boots Debian's user-mode Linux,
a kernel that runs as a process, and runs \`check\`, the short part of conformance and the tests that depend on the
kernel in it, with Node ${process.version}. A guest has one processor and a clock that other work on its host disturbs: it
counts in ticks of 10 ms, so that timers are later than at the usual 4 ms. For that a row of conformance may be an eighth late.

${table(['', ...results.map(({ version }) => `Linux ${version}`)], rows, `l${'l'.repeat(results.length)}`)}

## What differs

${results.map(differences).join('\n')}
## What is known to differ

- TCP_RTO_MAX_MS came with Linux 6.15. Before, a peer that dies behind a closed window is
  [noticed later](detection.md#before-linux-615), and a plan's \`rtoMax\` is \`null\`. The tests of it are the ones skipped.
- TCP_INFO has \`receiveWindowBytes\` since 6.2, \`sendWindowBytes\` since 5.4.
- The user timeout ends a live peer that does not read since 5.11. So it does on 5.10.46, whose stable series has that change.
- Up to Node 22 a reset behind unread data is \`read ECONNRESET\`, and not an end, where the data ends with a whole read of 64 KiB. That
  is plain Node's doing, and was seen without this library on 6.1.
- A connect's first retransmissions are a second apart since 6.5 (\`tcp_syn_linear_timeouts\`): 131 s without a user
  timeout, 127 s before.
`
}
