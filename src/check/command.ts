/** `tcp-keepalive check` */
import { support } from '../support.js'
import { cases, casesWithoutUnplug } from './cases.js'
import { Report } from './report.js'
import { isAsPredicted, runCases } from './run.js'

export async function check(): Promise<number> {
  const { setKeepalive: binary, setDeadPeerTimeout, unplug } = support
  // On other systems, a connect cannot be left unanswered, either.
  const reason = binary !== true || process.platform === 'linux' ? binary : unplug
  if (reason !== true) {
    process.stderr.write(`tcp-keepalive check cannot run here: ${reason}\n`)
    return 2
  }
  const report = new Report(process.stdout)
  report.begin()
  let elapsed = 0
  const chosen = unplug === true ? cases() : casesWithoutUnplug()
  const results = await runCases(chosen, (running, now) => {
    elapsed = now
    report.progress(running, now)
  })
  report.end(results, elapsed)
  if (unplug !== true) {
    const names = cases().map(({ name }) => name)
    report.notShown(names, [unplug, ...(setDeadPeerTimeout === true ? [] : [setDeadPeerTimeout])])
  }
  return results.every(isAsPredicted) ? 0 : 1
}
