/**
 * A clock that stands still while other processes have the processor. The kernel ends a connection
 * in time on a busy machine, too; but the process sees that only when its event loop turns again, and
 * no library can help that. So lateness is measured on this clock, from the moment at which something was due.
 * On a machine that has nothing else to do it goes as any clock.
 */
// Before a test makes them fake.
const { setInterval, clearInterval } = globalThis
const real = performance.now.bind(performance)

/** Between two looks at the time. */
const TICK_MS = 5
/** What counts of the time between two looks. */
const MOST_MS = 10

exports.LoopClock = class LoopClock {
  #looks = [real()]
  #timer = setInterval(() => this.#look(), TICK_MS).unref()

  #look() {
    if (this.#timer !== undefined) this.#looks.push(real())
  }

  /** Milliseconds of this clock since `from`, which is a time of `performance.now()`; 0 if that is still to come. */
  since(from = this.#looks[0]) {
    this.#look()
    let ms = 0
    for (let i = this.#looks.length - 1; i > 0 && this.#looks[i] > from; i--) {
      ms += Math.min(this.#looks[i] - Math.max(this.#looks[i - 1], from), MOST_MS)
    }
    return ms
  }

  /** It stands from now on. */
  stop() {
    this.#look()
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
