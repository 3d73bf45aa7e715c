#!/usr/bin/env node
/** `npx tcp-keepalive check` */
import { cases, casesWithoutUnplug } from './check/cases.js'
import { Report } from './check/report.js'
import { isAsPredicted, runCases } from './check/run.js'
import { support } from './support.js'

const HELP = `Usage: tcp-keepalive check

  check   pulls the cable of real connections on this machine and shows when each
          becomes an error. Takes about ten seconds, needs no privileges.
          Where that cannot be done (gVisor, qemu-user) it shows what can be.
          Exits with 1 when a time is not the predicted one, with 2 when this
          system cannot do it.
`

async function check(): Promise<number> {
  const { setKeepalive: binary, setDeadPeerTimeout, unplug } = support
  // Elsewhere no connect is left unanswered, either.
  const reason = binary !== true || process.platform === 'linux' ? binary : unplug
  if (reason !== true) {
    process.stderr.write(`tcp-keepalive check cannot run here: ${reason}\n`)
    return 2
  }
  const report = new Report(process.stdout)
  report.begin()
  let elapsed = 0
  const results = await runCases(
    unplug === true ? cases() : casesWithoutUnplug(),
    (running, now) => {
      elapsed = now
      report.progress(running, now)
    },
  )
  report.end(results, elapsed)
  if (unplug !== true) {
    const names = cases().map(({ name, settings }) => `${name} (${settings})`)
    report.notShown(names, [unplug, ...(setDeadPeerTimeout === true ? [] : [setDeadPeerTimeout])])
  }
  return results.every(isAsPredicted) ? 0 : 1
}

async function main([command, ...rest]: string[]): Promise<number> {
  if (command === 'check' && rest.length === 0) return check()
  const asked = command === undefined || command === '--help' || command === '-h'
  ;(asked ? process.stdout : process.stderr).write(
    asked ? HELP : `Unknown command: ${[command, ...rest].join(' ')}\n\n${HELP}`,
  )
  return asked ? 0 : 2
}

main(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
