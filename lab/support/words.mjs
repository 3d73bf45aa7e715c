// What the tables of several laboratories say alike.

export const seconds = (ms) => (ms / 1000).toFixed(ms < 99_950 ? 1 : 0)

/** What a row sets. */
export function inWords({ keepalive, userTimeout, rtoMax, ms, slowReader, older }) {
  const words = []
  if (rtoMax) words.push(`TCP_RTO_MAX_MS ${rtoMax} only`)
  if (keepalive) words.push(`keepalive ${Object.values(keepalive).join('/')}`)
  if (userTimeout) words.push(`user timeout ${userTimeout}`)
  if (ms) words.push(`dead peer ${ms} '${slowReader ?? 'keep'}'`)
  if (older) words.push('before Linux 6.15')
  return words.join(', ') || 'nothing set'
}

/** Markdown: a head, and rows of as many cells; `columns` has an l or an r for each. */
export function table(head, rows, columns = 'l'.repeat(head.length)) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  const rule = [...columns].map((column) => (column === 'r' ? '---:' : '---'))
  return [line(head), `|${rule.join('|')}|`, ...rows.map(line)].join('\n')
}
