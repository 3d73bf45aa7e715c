/** Unplugs all connections at the same time and waits for their errors. */
import { performance } from 'node:perf_hooks'
import { type Case, openGround } from './cases.js'

/** The result of one case, while it runs and afterwards. Times are milliseconds since the peer's last segment. */
export interface Result extends Case {
  /** When the error came; undefined while there is none. */
  measured: number | undefined
  error: NodeJS.ErrnoException | undefined
}

/** A case that takes the kernel longer than this is not waited for. */
const PATIENCE_MS = 12_000
/** The kernel's timers are never early, but may be an eighth late; the loop may be busy. */
const EARLY_MS = 100
const LATE_MS = 750

/** Whether the case ends soon enough to wait for it. */
export function isSoon({ predicted }: Case): boolean {
  return predicted < PATIENCE_MS
}

/** Whether the result is as the kernel's rules predict. */
export function isAsPredicted(result: Result): boolean {
  const { measured, predicted, late = LATE_MS } = result
  if (!isSoon(result)) return measured === undefined
  return measured !== undefined && measured > predicted - EARLY_MS && measured < predicted + late
}

/** Runs them; `progress` is called with the time at every step. */
export async function runCases(
  chosen: readonly Case[],
  progress: (results: readonly Result[], elapsed: number) => void,
): Promise<readonly Result[]> {
  const ground = await openGround()
  const results: Result[] = chosen.map((each) => ({
    ...each,
    measured: undefined,
    error: undefined,
  }))
  const ready = await Promise.all(results.map((result) => result.prepare(ground)))
  const begin = performance.now()
  const elapsed = (): number => performance.now() - begin
  ready.forEach(({ socket, begin: goSilent }, index) => {
    const silent = goSilent()
    socket.on('error', (error) => {
      Object.assign(results[index] as Result, { measured: silent + elapsed(), error })
    })
  })

  const latest = ({ predicted, late = LATE_MS }: Case): number => predicted + late
  const end = Math.max(...results.filter(isSoon).map(latest))
  while (
    elapsed() < end &&
    results.some((result) => isSoon(result) && result.measured === undefined)
  ) {
    progress(results, elapsed())
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  progress(results, elapsed())
  for (const { socket } of ready) socket.destroy()
  await ground.close()
  return results
}
