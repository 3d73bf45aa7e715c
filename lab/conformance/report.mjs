// What is printed, and what is written to docs/.
import { writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { inWords, seconds, table } from '../support/words.mjs'
import { OBSERVED } from './scenarios.mjs'

/** Within 0.75 s or 5 % of the prediction, whichever is larger; a survivor has survived. */
export function judge(
  { until = OBSERVED, within = 0.05 },
  { predicted, measured, late = 0, alive, problem, skipped, error },
) {
  if (skipped) return { fine: true }
  if (problem) return { fine: false }
  const lives = predicted === null || predicted > until * 1000
  if (lives) return { fine: measured === undefined && error === undefined && alive !== false }
  if (measured === undefined) return { fine: false }
  const off = measured - predicted
  // Late on the clock of a loop that turns: the same on a machine that has nothing else to do.
  const distance = off > 0 ? Math.min(off, late) : -off
  return { off, fine: distance <= Math.max(750, within * predicted) }
}

export function path({ family, rtt, loss, path: { ours, theirs, largest } = {} }) {
  const words = [`IPv${family}`]
  if (rtt) words.push(`RTT ${rtt} ms`)
  if (loss) words.push(`loss ${loss} %`)
  if (ours) words.push(`${100 * ours} % of ours lost`)
  if (theirs) words.push(`${100 * theirs} % of theirs lost`)
  if (largest) words.push(`nothing over ${largest} bytes passes`)
  return words.join(', ')
}

export function stateOf({ state, part, closedFor, every, many }) {
  if (every) return `${state} every ${every} s${many ? `, ${many} connections` : ''}`
  if (many) return `${state}, ${many} connections`
  if (part) return `${state} at ${part * 100} %`
  if (closedFor) return `${state} after ${closedFor} s`
  return state
}

function outcome({ row, measured, observed, error, problem, skipped, working }) {
  if (skipped) return skipped
  if (problem) return problem
  if (measured !== undefined) return `${seconds(measured)} s`
  const count = row.many ? `${working} of ${row.many} ` : ''
  return error ?? `${count}alive after ${seconds(observed)} s`
}

const prediction = ({ predicted, skipped }) =>
  skipped ? '' : predicted === null ? 'never' : `${seconds(predicted)} s`

export function describe(result) {
  const { row, fine, measured, error } = result
  return [
    fine ? '  ' : '! ',
    stateOf(row).padEnd(42),
    inWords(row.set).padEnd(40),
    path(row).padEnd(26),
    (result.problem ? '' : prediction(result)).padStart(8),
    outcome(result).padStart(9),
    measured === undefined ? '' : error,
  ].join(' ')
}

export async function write(results) {
  const { chart } = await import('./chart.mjs')
  const folder = new URL('../../docs/', import.meta.url)
  writeFileSync(new URL('detection.svg', folder), chart(results, release().split('-')[0]))
  writeFileSync(new URL('detection.md', folder), document(results))
}

const SECTIONS = [
  ['Idle', ({ state }) => state === 'idle'],
  ['In flight', ({ state, set }) => state === 'in flight' && !special(set)],
  ['Written into silence', ({ state }) => state.startsWith('written')],
  ['Half closed', ({ state }) => /\bend(ed)?\b/.test(state)],
  ['Zero window', ({ state, set }) => state.startsWith('zero window') && !special(set)],
  ['Window closed on data in flight', ({ state }) => state.startsWith('window closed')],
  ['TCP_RTO_MAX_MS and nothing else', ({ set, many }) => set.rtoMax && !many],
  ['The peer continues to send', ({ every, many }) => every && !many],
  ['Before Linux 6.15: without that option', ({ set, many }) => set.older && !many],
  ['Connecting', ({ state }) => state === 'connecting'],
  ['False alarms', ({ many }) => many],
]

const special = (set) => set.rtoMax || set.older

/** How many of the live connections are left. */
function kept(results) {
  const sum = (values) => values.reduce((total, value) => total + value, 0)
  const working = sum(results.map(({ working }) => working ?? 0))
  return `${working} of ${sum(results.map(({ row }) => row.many))}`
}

function document(results) {
  const deaths = results.filter(({ measured }) => measured !== undefined)
  const living = results.filter(({ row }) => row.many)
  const rest = new Set(results)
  const sections = SECTIONS.map(([title, belongs]) => {
    const chosen = [...rest].filter(({ row }) => belongs(row))
    for (const result of chosen) rest.delete(result)
    return chosen.length === 0 ? '' : `## ${title}\n\n${tableOf(chosen)}\n`
  })
  const worst = Math.max(...deaths.map(({ off }) => Math.abs(off)))
  return `${INTRODUCTION}
Made by \`npm run lab -- conformance\` on Linux ${release().split('-')[0]} with Node ${process.version}:
${deaths.length} connections died; the largest difference from a prediction was ${seconds(worst)} s.
${results.filter(({ fine }) => fine).length} of ${results.length} rows are within 0.75 s or 5 %, whichever is larger.
${kept(living)} live connections, including slow readers and lossy paths, still worked at the end.
(Which loss a time survives: [hostile-network.md](hostile-network.md).)

![predicted and measured](detection.svg)

${sections.join('\n')}`
}

const HEAD = ['state', 'set', 'path', 'predicted', 'measured', 'difference, s', 'error', '']

function tableOf(results) {
  const rows = results.map((result) => {
    const { row, fine, off, measured, error, problem } = result
    const distance =
      off === undefined ? '' : `${off < 0 ? '−' : '+'}${(Math.abs(off) / 1000).toFixed(2)}`
    const notes = [row.note, fine ? undefined : '**Off.**'].filter(Boolean)
    const came = measured === undefined || problem ? '' : error
    const cells = [stateOf(row), inWords(row.set), path(row), problem ? '' : prediction(result)]
    return [...cells, outcome(result), distance, came, notes.join(' ')]
  })
  return table(HEAD, rows, 'lllrrrll')
}

const INTRODUCTION = `# When a silent peer is an error

The tables below compare what the kernel's rules predict (\`detectionTime\`, src/kernel/rules.ts) with what was measured.

*keepalive 2/1/3* is \`{ idle: 2, interval: 1, count: 3 }\`, *user timeout* is in milliseconds,
*dead peer 5000 'keep'* is \`setDeadPeerTimeout(socket, 5000, { slowReader: 'keep' })\`.

- **idle**: counted from the peer's last segment. **in flight**, **connecting**: from the write or the call.
  **written into silence at 60 %**: written when 60 % of the idle time has passed, and counted from
  the peer's last segment. **zero window**: the peer has stopped reading. If it is dead: counted from its
  last answer, or with a user timeout from when the window closed. If it is alive, it answers all the time.
- Predictions in flight include the path's own RTT and retransmission timeout, from TCP_INFO.
- The kernel's timers are never early, and up to an eighth of their length late (the timer wheel).
- A user timeout, and so \`'end'\`, ends live peers that do not read. That is the kernel's rule, not a bug.

### What TCP_RTO_MAX_MS cannot do alone

With a bound of about a sixteenth of the time, the kernel itself times out the connection in time (below). But
it also ends live peers that do not read, on paths that lose segments:

- When a window closes while data is in flight (a segment was lost while the peer's buffer
  filled), retransmissions probe it. In that state the kernel times out the connection after **twice the
  bound** without an answer, which is two lost probes (tcp_rtx_probe0_timed_out).
- A peer that answers but has no room for the data in flight makes no progress. Its connection is timed out
  when tcp_retries2 is reached, which takes less time because of the bound (retransmits_timed_out).

With the bound alone, 3 of 60 live slow readers on a path that loses 10 % each way were disconnected within
100 s, two of them after 7 s of silence where 60 s had been set. So with \`'keep'\` this library looks at such
connections twice a second, and sets the option only while a window is closed:

- Ten probes fit into the silence that ends a connection (at most one a second).
- Where the window has closed on data in flight, that data is stuck. tcp_retries2 counts from the
  last progress, and is checked whenever the window opens a little: the bound is increased, so that tcp_retries2
  lasts longer than the data has been stuck. The bound also stays ahead of the silence, so that twice the
  bound is never reached, unless the event loop is blocked for more than 1.2 times the bound (2 s if \`ms\` is 20 s) while
  an answer is lost.
- With a larger bound the probes are farther apart. Any of them may be lost, so as many as fit into the time
  must be unanswered (three of 5 s, four of 10 s, five of 20 s and more). **A peer that dies after its
  data has been stuck for long is noticed later than \`ms\`**: after a little more than half as long as the data
  was stuck, up to the kernel's own 240 s.

### When a peer is dead

Two clocks run while data is outstanding. Either ends a connection after 85 % of \`ms\`:

- **Since the peer's last acknowledgement of anything**, if probes (retransmissions, window probes) have been
  unanswered since: two with the window open; with the window closed as many as fit into the time, up to six.
- **Since the last progress**, an acknowledgement of new data, if the window has been open all that
  time and two retransmission timeouts have passed. So a peer that continues to send while none of our data
  arrives (loss in one direction, an MTU black hole) is noticed, too. If a window has opened and the data that
  was stuck before is still stuck, six retransmission timeouts must have passed.

A probe is unanswered when its answer is overdue: the round-trip time plus four times its deviation or
200 ms has passed since the look that noticed the probe. (With an \`ms\` of 2300 or less, a peer that dies behind
a window that has long been closed is therefore noticed up to 1.3 s after \`ms\`.)

### Before Linux 6.15

A kernel without TCP_RTO_MAX_MS doubles the interval between window probes, up to two minutes, even if they are
answered. Six must be unanswered there, because with fewer a lossy path ends live peers
([hostile-network.md](hostile-network.md)). **A peer that dies behind a closed window is noticed later**:
after 63 times the interval until the next probe, which is about as long as the
window has been closed. At a round-trip time of 20 ms:

| window closed for | noticed this long after the last answer (or after \`ms\` if that is longer) | by the kernel alone |
|---|---|---|
| 0 s | 15 s | 16 minutes |
| 0.7 s | a minute | 20 minutes |
| 3 s | 4 minutes | 24 minutes |
| 14 s | 8 minutes | 28 minutes |
| 2 minutes | 12 minutes | 32 minutes |

Linux 6.15 and newer notice each of them within \`ms\` plus a second. Idle, in flight and while connecting, older
kernels behave the same, with two exceptions.

Before Linux 6.6, if a window closes on data in flight, the kernel continues to report it as open. So before 6.15
this library treats a peer that has answered, since the last progress, with segments without data as a slow
reader: six probes must be unanswered, and the second clock restarts with each such answer. (The connection
of a peer whose keepalive probes come through an MTU black hole is therefore not ended.)

Before Linux 5.4 the kernel does not report the window. Then there is no second clock, and in flight too six probes
must be unanswered, which takes at least about 7 s.

Stuck data ends after at most the kernel's own 240 s, with or without this library, **a live peer's too**, once
one or two answers are lost ([hostile-network.md](hostile-network.md) has how many, also with plain Node).
`
