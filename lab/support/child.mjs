// What other programs say, and how many of them run at once.
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'

/** A child's end, and all that it has written. */
export async function endOf(child) {
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal }))
  })
  const [{ code, signal }, stdout, stderr] = await Promise.all([
    ended,
    text(child.stdout),
    text(child.stderr),
  ])
  return { code, signal, stdout, stderr }
}

/** The values that a child writes, one a line. */
export async function* jsonLines(stream) {
  for await (const line of createInterface({ input: stream })) yield JSON.parse(line)
}

/** A function that runs what it gets, at most so many at once. */
export function turns(atOnce) {
  const waiting = []
  let free = atOnce
  return async (action) => {
    if (free > 0) free--
    else await new Promise((resolve) => waiting.push(resolve))
    try {
      return await action()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}
