/** `tcp-keepalive check` */
import { support } from '../support.js'
import { Report } from './report.js'
import { isAsPredicted, runCases } from './run.js'

export async function check(): Promise<number> {
  const reason = support.unplug
  if (reason !== true) {
    process.stderr.write(`tcp-keepalive check cannot run here: ${reason}\n`)
    return 2
  }
  const report = new Report(process.stdout)
  report.begin()
  let elapsed = 0
  const results = await runCases((running, now) => {
    elapsed = now
    report.progress(running, now)
  })
  report.end(results, elapsed)
  return results.every(isAsPredicted) ? 0 : 1
}
