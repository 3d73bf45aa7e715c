// docs/hostile-network.md.
import { planDeadPeerTimeout } from '../../dist/index.js'
import { table } from '../support/words.mjs'
import { LONG } from './rows.mjs'
import { closedWindowLoss, idleLoss, transferLoss } from './theory.mjs'

const LOSSES = [0.01, 0.05, 0.1, 0.2, 0.4]
const HOUR = 3600
const PATH = { srtt: 20, rto: 220 }

function chance(part) {
  const percent = 100 * part
  if (percent > 99.9) return '100 %'
  if (percent >= 10) return `${percent.toFixed(0)} %`
  if (percent >= 0.01) return `${percent.toPrecision(1)} %`
  return percent < 1e-12 ? '< 1e-12 %' : `${percent.toExponential(0)} %`
}

const QUESTIONS = [
  ['idle, an hour', (plan, loss) => idleLoss(plan, loss, HOUR)],
  ['a transfer of one segment', (plan, loss) => transferLoss(plan, PATH, loss)],
  ['not reading, an hour, at worst', (plan, loss) => closedWindowLoss(plan, loss, HOUR, true)],
]

function survives() {
  const rows = [5000, 10_000, 20_000, 60_000].flatMap((ms) =>
    QUESTIONS.map(([question, answer]) => {
      const plan = planDeadPeerTimeout(ms)
      const chances = LOSSES.map((loss) => answer(plan, { loss })).map(chance)
      const { idle, interval, count } = plan
      const title = question.startsWith('idle') ? `**${ms}** (${idle}/${interval}/${count})` : ''
      return [title, question, ...chances]
    }),
  )
  const losses = LOSSES.map((loss) => `loss ${100 * loss} %`)
  const head = ['ms (idle/interval/count)', 'timed out although alive, by chance', ...losses]
  return table(head, rows, `ll${'r'.repeat(LOSSES.length)}`)
}

function tableOf(results, title) {
  const rows = results.map(({ cells, fine }) => [...cells, fine ? '' : '**Off.**'])
  return table(['state', 'set', title, 'predicted', 'measured', '', ''], rows, 'lllrrll')
}

/** Both families and all three programs in one line, where they are alike. */
function firewalls(results) {
  const lines = new Map()
  for (const { row, cells, fine } of results) {
    const name = `${row.state} | ${row.answer}`
    const entry = lines.get(name) ?? { errors: new Set(), rows: 0, fine: 0 }
    entry.errors.add(cells[5])
    entry.rows++
    if (fine) entry.fine++
    lines.set(name, entry)
  }
  const rows = [...lines].map(([name, { errors, rows, fine }]) => [
    name,
    [...errors].join('; '),
    `${fine} of ${rows}`,
  ])
  return table(['state | the firewall answers', 'error', 'as predicted'], rows, 'llr')
}

export function document(results, links, where, long) {
  const of = (...groups) => results.filter(({ group }) => groups.includes(group))
  const right = results.filter(({ fine }) => fine).length
  return `# On a hostile network

Made by \`npm run lab -- hostile\` on ${where}: ${right} of ${results.length} rows are as predicted.
Every path is a TUN device with a forwarder (lab/support/link.py); every host is a network namespace.
${links}

## Which loss a time survives

The connection of a live peer is timed out when every probe is unanswered. With a loss of *p* each way, a probe is
unanswered with a probability of 1 − (1 − *p*)². When idle, \`count\` probes in a row must be lost. In flight, the segment and every
retransmission that fits into the time must be lost; their intervals double. Behind a closed window (\`'keep'\`), the window probes
must be lost, at most one a second; in the worst case the window has closed on data in flight, where fewer fit into the time
([detection.md](detection.md#what-tcp_rto_max_ms-cannot-do-alone)). Before Linux 6.15 it is six probes, however far apart.

**From theory (lab/hostile/theory.mjs)**, at an RTT of 20 ms, with each packet lost independently:

${survives()}

A connection survives a complete outage that is shorter than \`(count − 1) × interval\` when idle, or shorter than four
tenths of \`ms\` in flight (the first retransmission after the outage may come as late again). A path that
loses 10 % or more needs 20 s or more. A peer that does not read for hours needs a path that loses
almost nothing: TCP probes a window that has long been closed at most once a second.

## Measured: live connections on bad paths

*Predicted* and *measured* count the connections that were timed out within 150 s, out of the number in the next column.

${tableOf(of('loss', 'transfers', 'links'), 'path')}

${long}

## Measured: one end is gone

A firewall begins to drop or to reject, IPv4 and IPv6, with setDeadPeerTimeout 4000 \`'keep'\` and
\`'end'\`, and with keepalive 1/1/3 and a user timeout of 3000. The kernel ignores an ICMP error
that answers a keepalive probe. With data in flight it stores the error: the time is the same, and the connection ends
with the last error stored. (With \`'keep'\` it ends with ETIMEDOUT.) A reset ends the connection at once, or at the first probe.

${firewalls(of('firewall'))}

Between two hosts:

${tableOf(of('addresses'), 'what happens')}
`
}

/** Of the peers that do not read for ten minutes. */
export function longPart(results, links, where) {
  const parts = Object.entries(LONG).map(([group, { title }]) => {
    const bySweep = results.find((result) => result.group === group && result.bySweep)?.bySweep ?? 0
    const rows = results.filter((result) => result.group === group && result.cells)
    return `${title} The sweep ended ${bySweep} of them; the kernel timed out the others.\n\n${tableOf(rows, 'path')}`
  })
  return `## Measured: peers that do not read for ten minutes

Made by \`npm run lab -- hostile --long\` on ${where}. ${links}
*Predicted* ranges from "no window closes on data in flight" to "every window does". *Data stuck in* is how many connections were in
that state at the end. "Nothing set" is plain Node on the same path. (With
TCP_RTO_MAX_MS the kernel times out a connection with stuck data if one answer is lost while the event loop is blocked for more than 1.2
times the bound, which is 2 s if \`ms\` is 20 s: the bound must grow with the silence.)

${parts.join('\n\n')}
`
}
