/** How long the kernel took, seen from a machine that is busy with other tests. */
import { performance } from 'node:perf_hooks'
import { expect } from 'vitest'

/** Seconds. The kernel's timers are never early (but for a tick), and a little late. */
const EARLY = 0.1
const LATE = 0.6
const TICK_MS = 10

/**
 * The kernel's clock starts somewhere between the making of a stopwatch and its
 * `started()`; the event loop may be held up while it ends. A verdict is too early
 * or too late only if it is so wherever in between those lie.
 */
export class Stopwatch {
  readonly #earliest = performance.now()
  #latest = this.#earliest
  #stopped = Number.NaN
  #ticks: [before: number, last: number] = [this.#earliest, this.#earliest]
  readonly #timer = setInterval(() => {
    this.#ticks = [this.#ticks[1], performance.now()]
  }, TICK_MS)

  /** What starts the kernel's clock has been done. */
  started(): void {
    this.#latest = performance.now()
  }

  stop(): void {
    this.#stopped = performance.now()
    clearInterval(this.#timer)
  }

  /** Seconds, from and to. */
  expectWithin(from: number, to = from): void {
    expect(this.#stopped - this.#earliest).toBeGreaterThan(1000 * (from - EARLY))
    // For as long as the loop stood still nobody could be told.
    const heldUp = Math.max(0, this.#stopped - this.#ticks[0] - 2 * TICK_MS)
    expect(this.#stopped - heldUp - this.#latest).toBeLessThan(1000 * (to + LATE))
  }
}
