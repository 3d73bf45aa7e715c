/** The output of `tcp-keepalive check`: a table that is updated in a terminal, plain lines elsewhere. */
import type { WriteStream } from 'node:tty'
import { isAsPredicted, isSoon, type Result } from './run.js'

type Colour = 'green' | 'red' | 'yellow' | 'dim' | 'bold'

const CODES: Record<Colour, [number, number]> = {
  green: [32, 39],
  red: [31, 39],
  yellow: [33, 39],
  dim: [2, 22],
  bold: [1, 22],
}

/** `2 h 11 min`, `15 min 25 s`, `5.0 s`. */
function duration(ms: number): string {
  if (ms === Infinity) return 'never'
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  const hours = Math.floor(seconds / 3600)
  const minutes = Math.floor((seconds % 3600) / 60)
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`
}

export class Report {
  readonly #out: WriteStream | NodeJS.WriteStream
  readonly #live: boolean
  readonly #colours: boolean
  #drawn = 0

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    // A line that wraps cannot be redrawn.
    this.#live = out.isTTY === true && out.columns >= WIDTH
    // hasColors() knows NO_COLOR, FORCE_COLOR and TERM.
    this.#colours = out.isTTY === true && out.hasColors()
  }

  begin(): void {
    this.#line(this.#paint('bold', 'tcp-keepalive check'))
    this.#line('Real connections on this machine. At 0 s every peer goes')
    this.#line('silent: nothing arrives any more, not even a reset.')
    this.#line('')
    this.#line(this.#paint('dim', cells(['connection', 'predicted', 'measured', 'error'])))
    this.#line(this.#paint('dim', '  settings'))
  }

  progress(results: readonly Result[], elapsed: number): void {
    if (!this.#live) return
    this.#erase()
    for (const result of results) this.#rows(result, elapsed)
    this.#drawn = ROWS * results.length
  }

  end(results: readonly Result[], elapsed: number): void {
    this.#erase()
    for (const result of results) this.#rows(result, elapsed, true)
    const failed = results.filter((result) => !isAsPredicted(result)).length
    this.#line('')
    this.#line(
      failed === 0
        ? this.#paint('green', 'Each error came when predicted.')
        : this.#paint('red', `${failed} of ${results.length} results are not as predicted.`),
    )
    if (results.some((result) => !isSoon(result))) {
      this.#line('Where there is no error yet, the peer is dead, too:')
      this.#line('a program without the right settings waits that long.')
    }
  }

  notShown(names: readonly string[], reasons: readonly string[]): void {
    this.#line('')
    this.#line('Cannot be shown here:')
    for (const name of names) this.#line(`  ${name}`)
    for (const reason of new Set(reasons)) this.#line(reason)
  }

  #rows(result: Result, elapsed: number, over = false): void {
    const { name, settings, predicted, measured = elapsed } = result
    const [colour, text] = outcome(result, over)
    this.#line(cells([name, duration(predicted), duration(measured), this.#paint(colour, text)]))
    this.#line(this.#paint('dim', `  ${settings}`))
  }

  #paint(colour: Colour, text: string): string {
    if (!this.#colours) return text
    const [on, off] = CODES[colour]
    return `\u001b[${on}m${text}\u001b[${off}m`
  }

  #erase(): void {
    if (this.#live && this.#drawn > 0) this.#out.write(`\u001b[${this.#drawn}A\u001b[J`)
    this.#drawn = 0
  }

  #line(text: string): void {
    this.#out.write(`${text}\n`)
  }
}

function outcome(result: Result, over: boolean): [Colour, string] {
  const { error } = result
  if (error !== undefined) return [isAsPredicted(result) ? 'green' : 'red', `${error.code}`]
  if (!over) return ['dim', 'no error yet']
  return [isSoon(result) ? 'red' : 'yellow', 'no error yet']
}

function cells(texts: readonly string[]): string {
  return texts
    .map((text, index) => `${text.padEnd(WIDTHS[index] ?? 0)}  `)
    .join('')
    .trimEnd()
}

const WIDTHS = [23, 11, 8]
/** The width of the table. */
const WIDTH = 60
/** The lines of one result. */
const ROWS = 2
