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
kernel in it, with Node ${process.version}. A guest has one processor, and other work on its host disturbs its clock. It
counts in ticks of 10 ms instead of the usual 4 ms, so timers are later. Therefore a row of conformance may be an eighth late.

${table(['', ...results.map(({ version }) => `Linux ${version}`)], rows, `l${'l'.repeat(results.length)}`)}

## What differs

${results.map(differences).join('\n')}
## What is known to differ

- TCP_RTO_MAX_MS came with Linux 6.15. Before, a peer that dies behind a closed window is
  [noticed later](detection.md#before-linux-615), and a plan's \`rtoMax\` is \`null\`. The skipped tests are those of this option.
- TCP_INFO has \`receiveWindowBytes\` since 6.2, \`sendWindowBytes\` since 5.4.
- Since 5.11, the user timeout also ends a live peer that does not read. 5.10.46 does so, too, because its stable series has that change.
- Up to Node 22, a reset that follows unread data is \`read ECONNRESET\` instead of an \`'end'\` if the last read of that data is a full 64 KiB.
  Plain Node does this, too: it was seen without this library on 6.1.
- Since 6.5, the first retransmissions of a SYN are a second apart (\`tcp_syn_linear_timeouts\`): 131 s without a user
  timeout, 127 s before.
`
}
