/** What several drivers' stories have in common. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeadPeerError } from '../../dist/index.js'

const STUCK = 'is stuck'

/** What a promise comes to, in words. */
export const wordsOf = (promise) =>
  promise.then(
    () => 'resolves',
    (error) =>
      isDeadPeerError(error)
        ? "rejects with the kernel's error"
        : `rejects: ${error.code ?? error.message.split('\n')[0]}`,
  )

/** Likewise, where nothing is wrong with the server any more. */
export const wordsSoon = (promise) =>
  Promise.race([wordsOf(promise), sleep(3000, STUCK, { ref: false })])

/** Without a listener of 'error', which `once` of node:events adds, and before the driver's own, which may throw. */
export const comes = (emitter, event) =>
  new Promise((resolve) => emitter.prependListener(event, () => resolve(`'${event}'`)))

/** More than every buffer between the server and the program holds. */
export const BIG_POSTGRES = "select repeat('x', 10000) as text from generate_series(1, 200000)"
export const BIG_MARIADB = "select repeat('x', 10000) as text from mysql.seq_1_to_200000"

/** Reads more slowly than the server sends; the connection goes silent in the middle. */
export async function readSlowly(rows, cut) {
  let count = 0
  for await (const _ of rows) {
    if (++count === 20) cut()
    await sleep(2)
  }
  return 'ends as if complete'
}

/** What the next two queries come to: a pool may be left so that only the first one gets through. */
async function wordsOfNext(query) {
  const first = await wordsSoon(query())
  if (first === STUCK) return `then a query ${STUCK}`
  const second = await wordsSoon(query())
  return first === second
    ? `then each query ${first}`
    : `then a query ${first}, the next one ${second}`
}

/** A transaction whose connection goes silent between two of its queries; and what comes after. */
export const silentInside = (open) => async (given) => {
  const { query, transaction } = await open(given)
  const outcome = await wordsOf(
    transaction(async (run) => {
      await run()
      given.cut()
      await run()
    }),
  )
  return `${outcome}; ${await wordsOfNext(query)}`
}

/** A transaction that begins on a connection that has gone silent; and what comes after. */
export const silentBefore = (open) => async (given) => {
  const { query, transaction } = await open(given)
  await query()
  // Until the connection is back in its pool.
  await sleep(300)
  given.cut()
  const outcome = await wordsOf(transaction((run) => run()))
  return `${outcome}; ${await wordsOfNext(query)}`
}
