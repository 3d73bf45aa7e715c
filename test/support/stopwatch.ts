/** How long the kernel took, seen from a machine that may be busy with anything. */
import { createRequire } from 'node:module'
import { performance } from 'node:perf_hooks'
import { expect } from 'vitest'

/** See loop-clock.cjs, which processes of tests use as well. */
export interface LoopClock {
  since(from?: number): number
  stop(): void
}
export const { LoopClock } = createRequire(__filename)('./loop-clock.cjs') as {
  LoopClock: new () => LoopClock
}

/** Seconds. The kernel's timers are never early (but for a tick), and a little late. */
const EARLY = 0.1
const LATE = 0.6

/**
 * The kernel's clock starts somewhere between the making of a stopwatch and its
 * `started()`. A verdict is too early or too late only if it is so wherever in between
 * that lies. Early is early on any machine; how late it is, is counted in turns of the
 * event loop (`LoopClock`).
 */
export class Stopwatch {
  readonly #earliest = performance.now()
  readonly #clock = new LoopClock()
  #latest = this.#earliest
  #stopped = Number.NaN

  /** What starts the kernel's clock has been done. */
  started(): void {
    this.#latest = performance.now()
  }

  stop(): void {
    this.#stopped = performance.now()
    this.#clock.stop()
  }

  /** Seconds, from and to; and by how much it may be early and late. */
  expectWithin(from: number, to = from, { early = EARLY, late = LATE } = {}): void {
    expect(this.#stopped - this.#earliest).toBeGreaterThan(1000 * (from - early))
    const due = this.#latest + 1000 * to
    const seen = `seen ${this.#stopped - due} ms after it was due; of these, in turns of the event loop`
    expect(this.#clock.since(due), seen).toBeLessThan(1000 * late)
  }
}
