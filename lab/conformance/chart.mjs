// docs/detection.svg: predicted against measured, one dot for each connection that died.

const FAMILIES = [
  ['connecting', '#7a5195', (state) => state === 'connecting'],
  ['idle', '#2f6fb3', (state) => state.endsWith('idle')],
  ['written into silence', '#e08a1e', (state) => state.startsWith('written')],
  ['in flight', '#c8453b', (state) => state.includes('in flight')],
  ['window closed', '#2e8b57', (state) => state.includes('window')],
]

const LEFT = 64
const RIGHT = 700
const TOP = 48
const BOTTOM = 404
const FROM = 1.5
const TO = 90
const TICKS = [2, 3, 5, 10, 20, 30, 60]

const part = (seconds) => Math.log(seconds / FROM) / Math.log(TO / FROM)
const x = (seconds) => (LEFT + (RIGHT - LEFT) * part(seconds)).toFixed(1)
const y = (seconds) => (BOTTOM - (BOTTOM - TOP) * part(seconds)).toFixed(1)

export function chart(results, kernel) {
  const deaths = results.filter(({ measured }) => measured !== undefined)
  const living = results.filter(({ row }) => row.many)
  const connections = living.reduce((sum, { row }) => sum + row.many, 0)
  const working = living.reduce((sum, { working }) => sum + (working ?? 0), 0)

  const lines = TICKS.flatMap((tick) => [
    `<path class="grid" d="M${x(tick)} ${TOP}V${BOTTOM}M${LEFT} ${y(tick)}H${RIGHT}"/>`,
    `<text x="${x(tick)}" y="${BOTTOM + 18}" text-anchor="middle">${tick} s</text>`,
    `<text x="${LEFT - 8}" y="${+y(tick) + 4}" text-anchor="end">${tick} s</text>`,
  ])
  const steps = Array.from({ length: 60 }, (_, i) => FROM * (TO / FROM) ** (i / 59))
  const allowed = (seconds) => Math.max(0.75, 0.05 * seconds)
  const clamp = (seconds) => Math.min(TO, Math.max(FROM, seconds))
  const edge = (sign) => (s) => `${x(s)},${y(clamp(s + sign * allowed(s)))}`
  const band = [...steps.map(edge(1)), ...steps.reverse().map(edge(-1))].join(' ')
  const dots = deaths.flatMap(({ row, predicted, measured }) => {
    const [, colour] = FAMILIES.find(([, , belongs]) => belongs(row.state))
    return `<circle cx="${x(predicted / 1000)}" cy="${y(measured / 1000)}" r="4" fill="${colour}"/>`
  })
  const key = FAMILIES.flatMap(([name, colour], i) => [
    `<circle cx="${LEFT + 20}" cy="${TOP + 18 + 20 * i}" r="4" fill="${colour}"/>`,
    `<text x="${LEFT + 32}" y="${TOP + 22 + 20 * i}">${name}</text>`,
  ])
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 470" width="720" height="470" role="img" aria-label="Predicted and measured time until a silent peer is an error">
<style>text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd;fill:none}.title{font-size:15px;font-weight:600}circle{fill-opacity:.75}</style>
<rect width="720" height="470" fill="#fff"/>
<text class="title" x="${LEFT}" y="24">When a silent peer is an error: predicted and measured</text>
<text x="${LEFT}" y="40">${deaths.length} connections that died, Linux ${kernel}; ${working} of ${connections} live ones still worked after 100 s</text>
<polygon points="${band}" fill="#e9eef4"/>
${lines.join('\n')}
<path d="M${x(FROM)} ${y(FROM)}L${x(TO)} ${y(TO)}" stroke="#999" fill="none"/>
${dots.join('\n')}
${key.join('\n')}
<text x="${(LEFT + RIGHT) / 2}" y="${BOTTOM + 40}" text-anchor="middle">predicted (the band: within 0.75 s or 5 %)</text>
<text transform="translate(16 ${(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">measured</text>
</svg>
`
}
