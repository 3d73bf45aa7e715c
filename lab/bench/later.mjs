/**
 * What the library does a moment after a call belongs to the call's cost. To be imported
 * before it: times the callbacks of the timers that are set from here on.
 */
const { setTimeout, setImmediate, setInterval } = globalThis
const now = () => Number(process.hrtime.bigint())
let spent = 0

const timed =
  (callback) =>
  (...args) => {
    const from = now()
    callback(...args)
    spent += now() - from
  }
globalThis.setTimeout = (callback, ...rest) => setTimeout(timed(callback), ...rest)
globalThis.setImmediate = (callback, ...rest) => setImmediate(timed(callback), ...rest)
globalThis.setInterval = (callback, ...rest) => setInterval(timed(callback), ...rest)

/** Waits for what is to come, and gives back the nanoseconds that it took since the last time. */
export async function later() {
  await new Promise((resolve) => setTimeout(resolve, 100))
  const nanoseconds = spent
  spent = 0
  return nanoseconds
}
