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

/** `2 h 11 min 15 s`, `15 min 25 s`, `5.0 s`. */
function duration(ms: number): string {
  if (ms === Infinity) return 'never'
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  const hours = Math.floor(seconds / 3600)
  const minutes = Math.floor((seconds % 3600) / 60)
  const parts = [
    hours > 0 ? `${hours} h` : '',
    minutes > 0 ? `${minutes} min` : '',
    `${seconds % 60} s`,
  ]
  return parts.filter((part) => part !== '' && part !== '0 s').join(' ')
}

export class Report {
  readonly #out: WriteStream | NodeJS.WriteStream
  readonly #live: boolean
  readonly #wide: boolean
  readonly #colours: boolean
  #drawn = 0

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    // A line that wraps cannot be redrawn.
    this.#live = out.isTTY === true && out.columns >= NARROW
    this.#wide = !(out.isTTY === true && out.columns < WIDE)
    // hasColors() knows NO_COLOR, FORCE_COLOR and TERM.
    this.#colours = out.isTTY === true && out.hasColors()
  }

  begin(): void {
    this.#line(this.#paint('bold', 'tcp-keepalive check'))
    this.#line(
      'Real connections on this machine. At 0 s every peer goes silent: nothing arrives any more, not even a reset.',
    )
    this.#line('')
    this.#line(
      this.#paint(
        'dim',
        this.#cells(['connection', 'settings', 'predicted', 'measured', 'what came']),
      ),
    )
  }

  progress(results: readonly Result[], elapsed: number): void {
    if (!this.#live) return
    this.#erase()
    for (const result of results) this.#line(this.#row(result, elapsed))
    this.#drawn = results.length
  }

  end(results: readonly Result[], elapsed: number): void {
    this.#erase()
    for (const result of results) this.#line(this.#row(result, elapsed, true))
    const failed = results.filter((result) => !isAsPredicted(result)).length
    this.#line('')
    this.#line(
      failed === 0
        ? this.#paint('green', 'Every connection ended when predicted.')
        : this.#paint(
            'red',
            `${failed} of ${results.length} connections did not end when predicted.`,
          ),
    )
    if (results.some((result) => !isSoon(result)))
      this.#line(
        'Those without an error have a dead peer as well: that is what a program without these settings waits for.',
      )
  }

  notShown(names: readonly string[], reasons: readonly string[]): void {
    this.#line('')
    this.#line(`Cannot be shown here: ${names.join('; ')}.`)
    for (const reason of new Set(reasons)) this.#line(reason)
  }

  #row(result: Result, elapsed: number, over = false): string {
    const { name, settings, predicted, measured, error } = result
    const cells = [name, settings, duration(predicted)]
    if (measured !== undefined) {
      const colour = isAsPredicted(result) ? 'green' : 'red'
      return this.#cells([
        ...cells,
        duration(measured),
        this.#paint(colour, `${error?.code}, syscall ${error?.syscall}`),
      ])
    }
    if (over && isSoon(result))
      return this.#cells([...cells, 'none', this.#paint('red', 'no error came')])
    const text = over ? `no error after ${duration(elapsed)}` : 'no error yet'
    return this.#cells([
      ...cells,
      over ? '' : duration(elapsed),
      this.#paint(over ? 'yellow' : 'dim', text),
    ])
  }

  #cells(cells: string[]): string {
    return cells
      .map((cell, index) =>
        index === 1 && !this.#wide ? '' : `${cell.padEnd(WIDTHS[index] ?? 0)}  `,
      )
      .join('')
      .trimEnd()
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

const WIDTHS = [25, 55, 15, 8]
/** The widths needed with and without the settings column. */
const WIDE = 137
const NARROW = 80
