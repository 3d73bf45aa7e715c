#!/usr/bin/env node
/**
 * Records `tcp-keepalive check` in a terminal and draws docs/demo.svg of what it wrote, in
 * the time it took: `npm run build && node scripts/record-demo.mjs`. Needs `script` of util-linux.
 *
 * The picture shows its last frame where nothing moves (print, prefers-reduced-motion).
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const COLUMNS = 60
/** Milliseconds: no two frames are closer; the last one stays. */
const STEP = 200
const HOLD = 12_000

const ESC = '\u001b'
const PARTS = new RegExp(`\\r?\\n|${ESC}\\[\\d*[A-Za-z]|[^\\r\\n${ESC}]+|.`, 'gs')
const BEGUN = new RegExp(`(${ESC}(\\[\\d*)?|\\r)$`)

/** The few control sequences that the report writes; another one is an error, not a wrong picture. */
class Screen {
  lines = [[]]
  #row = 0
  #style = ''
  #rest = ''

  /** `onErase` is called while the screen still shows what is about to go. */
  write(chunk, onErase) {
    const text = this.#rest + chunk
    this.#rest = text.match(BEGUN)?.[0] ?? ''
    for (const [part] of text.slice(0, text.length - this.#rest.length).matchAll(PARTS)) {
      if (part.endsWith('\n')) {
        this.#row++
        this.lines[this.#row] ??= []
      } else if (part.startsWith(ESC)) this.#control(part, onErase)
      else if (part < ' ') throw new Error(`unknown: ${JSON.stringify(part)}`)
      else this.lines[this.#row].push({ text: part, style: this.#style })
    }
  }

  #control(sequence, onErase) {
    const number = Number(sequence.slice(2, -1))
    if (sequence.endsWith('A')) {
      onErase()
      this.#row -= number
    } else if (sequence.endsWith('J')) this.lines.splice(this.#row, Infinity, [])
    else if (sequence.endsWith('m') && number in STYLES) this.#style = STYLES[number]
    else throw new Error(`unknown: ${JSON.stringify(sequence)}`)
  }
}

const STYLES = { 1: 'b', 2: 'd', 31: 'r', 32: 'g', 33: 'y', 22: '', 39: '' }
/** Light, dark: of a class, and of the window itself. */
const COLOURS = {
  fg: ['#1f2328', '#f0f6fc'],
  d: ['#59636e', '#9198a1'],
  r: ['#cf222e', '#f85149'],
  g: ['#1a7f37', '#3fb950'],
  y: ['#9a6700', '#d29922'],
  w: ['#f6f8fa', '#151b23'],
}

async function record() {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env
  const command = `stty cols ${COLUMNS} rows 30 && exec '${process.execPath}' dist/cli.js check`
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    cwd: root,
    env: { ...env, TERM: 'xterm-256color' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const screen = new Screen()
  const frames = []
  const begin = performance.now()
  const keep = () => {
    frames.push({ at: performance.now() - begin, lines: structuredClone(screen.lines) })
  }
  child.stdout.setEncoding('utf8').on('data', (text) => screen.write(text, keep))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the demo ended with ${code}`)
  keep()
  return frames
}

/** Rare enough, and beginning at 0; the last one always stays. */
function thin(frames) {
  const kept = []
  for (const frame of frames.slice(0, -1)) {
    if (kept.length === 0 || frame.at - kept.at(-1).at >= STEP) kept.push(frame)
  }
  const from = kept[0].at
  return [...kept, frames.at(-1)].map(({ at, lines }) => ({ at: at - from, lines }))
}

const WIDTH = 7.25
const HEIGHT = 19
const MARGIN = 14
const escaped = (text) =>
  text.replace(/[&<>]/g, (each) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[each])

/** One line; what stands in a column begins there in every font. */
function drawLine(runs, y) {
  let column = 0
  let spans = ''
  for (const { text, style } of runs) {
    for (const { 0: word, index } of text.matchAll(/\S+(?: \S+)*/g)) {
      const x = (MARGIN + (column + index) * WIDTH).toFixed(1)
      spans += `<tspan x="${x}"${style && ` class="${style}"`}>${escaped(word)}</tspan>`
    }
    column += text.length
  }
  if (column > COLUMNS) throw new Error(`a line of ${column} columns has wrapped`)
  return spans === '' ? '' : `<text y="${y}">${spans}</text>\n`
}

function draw(frames) {
  const last = frames.at(-1).lines
  const same = (row) => frames.every((each) => sameLine(each.lines[row], last[row]))
  const rows = last.findLastIndex((line) => line.length > 0) + 1
  const height = rows * HEIGHT + 2 * MARGIN
  const width = COLUMNS * WIDTH + 2 * MARGIN
  const base = (row) => MARGIN + (row + 0.75) * HEIGHT
  const line = (lines, row, offset) => drawLine(lines[row] ?? [], base(row) + offset)
  const all = [...Array(rows).keys()]
  const still = all.filter(same).map((row) => line(last, row, 0))
  const moving = all.filter((row) => !same(row))
  const strip = frames.map(({ lines }, index) =>
    moving.map((row) => line(lines, row, index * height)).join(''),
  )
  const total = frames.at(-1).at + HOLD
  const place = (index) => `transform:translateY(-${index * height}px)`
  const stops = frames.map(
    ({ at }, index) => `${((100 * at) / total).toFixed(2)}%{${place(index)}}`,
  )
  const end = frames.length - 1
  const colours = (dark) =>
    Object.entries(COLOURS)
      .map(([name, pair]) => `${name === 'fg' ? 'text' : `.${name}`}{fill:${pair[dark]}}`)
      .join('')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>tcp-keepalive check: connections whose peer goes silent at 0 s, and when each becomes an error</title>
<style>
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.b{font-weight:bold}
${colours(0)}
@media (prefers-color-scheme:dark){${colours(1)}}
.s{${place(end)}}
@media (prefers-reduced-motion:no-preference){.s{animation:s ${(total / 1000).toFixed(1)}s step-end infinite}}
@keyframes s{${stops.join('')}100%{${place(end)}}}
</style>
<rect class="w" width="${width}" height="${height}" rx="8"/>
${still.join('')}<g class="s">
${strip.join('')}</g>
</svg>
`
}

function sameLine(one = [], other = []) {
  return JSON.stringify(one) === JSON.stringify(other)
}

const frames = thin(await record())
const file = join(root, 'docs', 'demo.svg')
const svg = draw(frames)
writeFileSync(file, svg)
process.stdout.write(
  `docs/demo.svg: ${frames.length} frames, ${Math.round(svg.length / 1000)} kB\n`,
)
