#!/usr/bin/env node
/** `npx tcp-keepalive check`, `inspect` and `set` */
import { join } from 'node:path'
import type { Answer } from './inspect/inspect-command.js'

const HELP = `Usage: tcp-keepalive <command>

  check              unplugs real connections on this machine and shows when
                     each ends with an error
  inspect <pid>      shows the TCP connections of a running process, and on
                     which of them a dead peer would be noticed late or never
  set <pid> …        sets keepalive and the user timeout on them, without a
                     restart
  <command> --help   shows the options of a command
  --version          shows the version
`

const CHECK_HELP = `Usage: tcp-keepalive check

Unplugs real connections on this machine, so that their peers go silent, and
shows when each ends with an error. Takes about six seconds and needs no
privileges. If this system cannot unplug a connection (gVisor, qemu-user), it
shows only a connect without an answer.

Exit status: 0 if all times are as predicted; 1 if one is not; 2 if it cannot
run here.
`

/** A command; its code is loaded only when it is used. */
interface Command {
  help(): Promise<string> | string
  run(words: readonly string[]): Promise<number>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  check: {
    help: () => CHECK_HELP,
    async run(words) {
      if (words.length > 0) return misused('check', `check takes no arguments: ${words.join(' ')}`)
      const { check } = await import('./check/command.js')
      return check()
    },
  },
  inspect: {
    help: async () => (await import('./inspect/inspect-command.js')).INSPECT_HELP,
    run: async (words) => print((await import('./inspect/inspect-command.js')).inspect(words)),
  },
  set: {
    help: async () => (await import('./inspect/set-command.js')).SET_HELP,
    run: async (words) => print(await (await import('./inspect/set-command.js')).set(words)),
  },
}

function print({ status, output }: Answer): number {
  process.stdout.write(output)
  return status
}

function misused(command: string, problem: string): number {
  process.stderr.write(
    `tcp-keepalive ${command}: ${problem}\nUsage: npx tcp-keepalive ${command} --help\n`,
  )
  return 2
}

async function main([name = '--help', ...words]: string[]): Promise<number> {
  if (name === '--help' || name === '-h') {
    process.stdout.write(HELP)
    return 0
  }
  if (name === '--version') {
    const { version } = require(join(__dirname, '..', 'package.json')) as { version: string }
    process.stdout.write(`${version}\n`)
    return 0
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    process.stderr.write(`Unknown command: ${[name, ...words].join(' ')}\n\n${HELP}`)
    return 2
  }
  if (words.includes('--help') || words.includes('-h')) {
    process.stdout.write(await command.help())
    return 0
  }
  try {
    return await command.run(words)
  } catch (error) {
    const { message } = error as Error
    const { UsageError } = await import('./inspect/arguments.js')
    if (error instanceof UsageError) return misused(name, message)
    process.stderr.write(`tcp-keepalive ${name}: ${message}\n`)
    return 2
  }
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader, such as head(1), may have closed the pipe.
  if (error.code !== 'EPIPE') throw error
})
main(process.argv.slice(2)).then((code) => {
  process.exitCode = code
})
