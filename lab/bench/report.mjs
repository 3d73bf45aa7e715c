// The samples as Markdown, and as a chart.
import { median } from '../support/median.mjs'
import { table } from '../support/words.mjs'

const sorted = (values) => values.toSorted((a, b) => a - b)
export function report({ samples, counts, broke, runs, load, nativeAtLoad, machine }) {
  const middle = (name) => (samples.has(name) ? median(samples.get(name)) : Number.NaN)
  const number = (value, digits = 0) =>
    Number.isNaN(value) ? '–' : (Object.is(Math.round(value), -0) ? 0 : value).toFixed(digits)
  /** Median, with the least and the most in brackets. */
  const figure = (name, digits = 0, scale = 1) => {
    if (!samples.has(name)) return '–'
    const values = sorted(samples.get(name).map((value) => value * scale))
    const [least, most] = [values[0], values.at(-1)].map((value) => number(value, digits))
    return `${number(median(values), digits)} [${least}…${most}]`
  }
  const verdict = (value, bound) =>
    Number.isNaN(value) ? 'not measured' : value <= bound ? 'met' : '**missed**'
  const atLeast = (value, bound) => verdict(-value, -bound)

  const ours = 'tcp-keepalive'
  const ratio = (title, operation, bound, beside) => {
    const name = `${ours} ${operation} ×`
    return [
      title,
      `${bound} ×`,
      `${figure(name, 2)} ×`,
      `${number(middle(`${ours} ${operation}`))} / ${number(middle(`floor ${operation}`))} ns`,
      beside,
      verdict(middle(name), bound),
    ]
  }
  const peer = (label, operation) => {
    const value = middle(`${label} ${operation} ×`)
    return Number.isNaN(value) ? undefined : `${label} ${number(value, 2)} ×`
  }
  const beside = (operation) =>
    ['node', 'sockopt', 'net-keepalive', 'node, 4 arguments (Node 26)', 'node:ffi (Node 26)']
      .map((label) => peer(label, operation))
      .filter(Boolean)
      .join(', ')
  const ours26 = peer(`${ours} (Node 26)`, 'setKeepalive')

  const perConnection = (name) =>
    counts.none && counts.setKeepalive
      ? // The listener's own few calls are among them.
        number((counts.setKeepalive[name] - counts.none[name]) / 500, 1)
      : '–'
  const native = middle(`growth ${ours}`)

  const head = ['', 'at most', 'came out', 'ours / floor', 'beside', '']
  const rows = [
    ratio(
      '`setKeepalive(socket, {…})`, repeated',
      'setKeepalive',
      1.2,
      [beside('setKeepalive'), ours26 && `${ours26}`].filter(Boolean).join(', '),
    ),
    ratio('`setUserTimeout(socket, ms)`', 'setUserTimeout', 1.7, beside('setUserTimeout')),
    ratio('`setDeadPeerTimeout`, repeated', 'setDeadPeerTimeout', 1.2, ''),
    ratio(
      '`getKeepalive(socket)`',
      'getKeepalive',
      1.2,
      `${beside('getKeepalive')} (net-keepalive: two of the four)`,
    ),
    ratio('`getTcpInfo(socket)` as an object', 'getTcpInfo', 1.45, ''),
    [
      'first set on a fresh socket, watched and locked',
      '+ 3 µs',
      `+ ${figure(`${ours} first +`, 2, 1e-3)} µs`,
      `${number(middle(`${ours} first`))} / ${number(middle('floor first'))} ns`,
      ['node', 'sockopt', 'net-keepalive']
        .filter((label) => samples.has(`${label} first`))
        .map(
          (label) =>
            `${label}, which neither watches nor locks, ${number(middle(`${label} first`))} ns`,
        )
        .join('; '),
      verdict(middle(`${ours} first +`), 3000),
    ],
    [
      'the same with `setDeadPeerTimeout`',
      '',
      `+ ${figure(`${ours} firstDeadPeer +`, 2, 1e-3)} µs`,
      `${number(middle(`${ours} firstDeadPeer`))} / ${number(middle('floor firstDeadPeer'))} ns`,
      '',
      '',
    ],
    [
      'accepted connection of a set server: setsockopt, epoll_ctl more',
      '0, 1',
      `${perConnection('setsockopt')}, ${perConnection('epoll_ctl')}`,
      '',
      '',
      counts.none && counts.setKeepalive
        ? verdict(Number(perConnection('setsockopt')) * 100 + Number(perConnection('epoll_ctl')), 1)
        : 'not measured: no strace',
    ],
    [
      'accepted connection of a set server: processor time more',
      '+ 6 µs',
      `${figure('accept setKeepalive +', 1)} µs`,
      `${number(middle('accept setKeepalive'), 1)} / ${number(middle('accept none'), 1)} µs`,
      `with setDeadPeerTimeout ${figure('accept setDeadPeerTimeout +', 1)} µs`,
      verdict(middle('accept setKeepalive +'), 6),
    ],
    [
      '`register`: rate of new outgoing connections, at least',
      '0.87 ×',
      `${figure('connect register ×', 3)} ×`,
      `${number(middle('connect register'))} / ${number(middle('connect without'))} per s`,
      [
        `processor time more: ${figure('connect register +', 1)} µs of ${number(middle('connect without µs'))}`,
        `the same system calls alone, made by C under Node: ${figure('connect syscalls ×', 3)} ×, ${figure('connect syscalls +', 1)} µs`,
      ].join('; '),
      atLeast(middle('connect register ×'), 0.87),
    ],
    ...[
      ['require', 'cjs'],
      ['import', 'mjs'],
    ].map(([how, extension]) => [
      `process start, \`${how}\``,
      '+ 3 ms',
      `+ ${figure(`start ours.${extension} +`, 1)} ms`,
      `${number(middle(`start ours.${extension}`), 1)} / ${number(middle(`start nothing.${extension}`), 1)} ms`,
      [
        `an empty CommonJS package with an exports map + ${number(middle(`start empty.${extension} +`), 1)}`,
        `node:net alone + ${number(middle(`start net.${extension} +`), 1)}`,
        `ours where node:net is loaded + ${number(middle(`start ours with net.${extension} +`), 1)}`,
        ...(how === 'require'
          ? [
              `net-keepalive + ${number(middle('start net-keepalive.cjs +'), 1)}`,
              `loaded and used once, over a program with a socket + ${number(middle('start used.cjs +'), 1)}`,
            ]
          : []),
      ].join(', '),
      verdict(middle(`start ours.${extension} +`), 3),
    ]),
    [
      'native code loaded at first use',
      'yes',
      nativeAtLoad ? 'no' : 'yes',
      '',
      '',
      nativeAtLoad ? '**missed**' : 'met',
    ],
    [
      'growth of the process over 1,000,000 calls, bytes per call',
      '0',
      number(native, 2),
      '',
      `net-keepalive ${number(middle('growth net-keepalive'), 1)}`,
      verdict(native, 1),
    ],
  ]

  const text = `# Benchmarks

\`npm run lab -- bench\` makes this page. ${machine.cpu}, ${machine.cores} cores, ${machine.memory}, ${machine.kernel}, Node ${machine.node}${machine.node26 ? `; Node 26 is ${machine.node26}` : '; no Node 26 could be had'}.
Medians of ${runs} runs, the least and the most in brackets; the load average was ${load.map((each) => each.toFixed(1)).join(' when it began, ')} when it ended. In each run every subject has a process of its own, in turn; a ratio is to the
floor of the same run: the same system calls in a C loop, in a process with a second thread, as Node has.
What thousands of connections cost, busy and idle, is in [scale.md](scale.md).

![Time of one call](benchmarks.svg)

${table(head, rows)}

"Beside" are ratios to the same floor. Node's own \`setKeepAlive(true, ms)\` makes the same four calls, with an interval of 1 s and a count of 10; its
four-argument form takes all three from Node 24.19 and 26.4 on. Only this library reads back, checks, locks or watches.

${broke.length > 0 ? `\nNot measured:\n\n${broke.map((what) => `- ${what}`).join('\n')}\n` : ''}`
  return { text, chart: chart(middle, machine) }
}

function chart(middle, { kernel, node, node26 }) {
  const bars = [
    ['four system calls in C', 'floor setKeepalive'],
    ['tcp-keepalive', 'tcp-keepalive setKeepalive'],
    ["Node's setKeepAlive (interval 1 s, count 10)", 'node setKeepalive'],
    ['sockopt 2', 'sockopt setKeepalive'],
    ['net-keepalive 4', 'net-keepalive setKeepalive'],
    ['tcp-keepalive, Node 26', 'tcp-keepalive (Node 26) setKeepalive'],
    ["Node 26's four-argument setKeepAlive", 'node, 4 arguments (Node 26) setKeepalive'],
    ['node:ffi, Node 26', 'node:ffi (Node 26) setKeepalive'],
  ]
    .map(([title, name]) => [title, middle(name)])
    .filter(([, value]) => !Number.isNaN(value))
  const LEFT = 290
  const WIDTH = 460
  const most = Math.max(...bars.map(([, value]) => value))
  const lines = bars.map(([title, value], i) => {
    const y = 52 + i * 26
    const width = Math.max(1, (value / most) * WIDTH)
    const color = title.startsWith('tcp-keepalive') ? '#2563eb' : '#94a3b8'
    const escaped = title.replaceAll('&', '&amp;')
    return `<text x="${LEFT - 8}" y="${y + 13}" text-anchor="end">${escaped}</text>
<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="18" fill="${color}"/>
<text x="${LEFT + width + 6}" y="${y + 13}">${(value / 1000).toFixed(2)} µs</text>`
  })
  const height = 66 + bars.length * 26
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 ${height}" font-family="sans-serif" font-size="13" fill="#334155">
<rect width="840" height="${height}" fill="#ffffff"/>
<text x="16" y="28" font-size="16" font-weight="bold">Keepalive, idle, interval and count of a connected socket: one call</text>
<text x="824" y="28" text-anchor="end">${kernel}, Node ${node}${node26 ? ` and ${node26}` : ''}</text>
${lines.join('\n')}
</svg>
`
}
