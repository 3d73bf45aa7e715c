/** A process that is looked into from outside: it has nothing of this library. */
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, renameSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { type Ended, run } from './child.ts'

const root = join(__dirname, '..', '..')
const cli = join(root, 'dist', 'cli.js')

interface Binding {
  openProcess?(pid: number): number
  takeDescriptor?(process: number, descriptor: number): number
  unplug(descriptor: number, unplugged: 0 | 1): number
  close(descriptor: number): number
}
const binding = createRequire(__filename)('node-gyp-build')(root) as Binding

/** A duplicate of another process's descriptor, or the refusal. */
function taken(pid: number, fd: number): number {
  const opened = binding.openProcess?.(pid) ?? -1
  if (opened < 0) return opened
  const descriptor = binding.takeDescriptor?.(opened, fd) ?? -1
  binding.close(opened)
  return descriptor
}

/** Why another process cannot be looked into here, for the title of a test that is skipped. */
export const withoutPidfd: string = reason()

function reason(): string {
  if (process.platform !== 'linux') return ' (skipped: pidfd_getfd is Linux)'
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  try {
    const descriptor = taken(child.pid as number, 0)
    if (descriptor >= 0) binding.close(descriptor)
    return descriptor >= 0 ? '' : ` (skipped: pidfd_getfd answers ${descriptor})`
  } finally {
    child.kill()
  }
}

const AS_NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']

/** As another user; needs root. */
export const asNobody: readonly string[] = AS_NOBODY
export const withoutNobody: string =
  withoutPidfd ||
  (process.getuid?.() !== 0 || spawnSync('setpriv', ['--version']).status !== 0
    ? ' (skipped: not root, or no setpriv)'
    : spawnSync('setpriv', [...AS_NOBODY.slice(1), process.execPath, cli]).status !== 0
      ? ' (skipped: another user cannot read this checkout)'
      : '')

export const LANGUAGES = ['Node', 'Python', 'C'] as const
export type Language = (typeof LANGUAGES)[number]

/** The command that runs `patient.…` of a language; undefined where the machine has none. */
export function commandOf(language: Language): string[] | undefined {
  const source = (ending: string): string => join(__dirname, `patient.${ending}`)
  if (language === 'Node') return [process.execPath, source('cjs')]
  if (language === 'Python')
    return spawnSync('python3', ['--version']).status === 0 ? ['python3', source('py')] : undefined
  const program = join(root, 'build', 'patient')
  const mine = `${program}-${process.pid}`
  mkdirSync(join(root, 'build'), { recursive: true })
  if (spawnSync('cc', ['-Wall', '-o', mine, source('c')]).status !== 0) return undefined
  // Another test file may be running the last one.
  renameSync(mine, program)
  return [program]
}

export interface Patient extends AsyncDisposable {
  pid: number
  /** The descriptor of its connection. */
  fd: number
  /** Nothing arrives for it any more. */
  unplug(): void
  /** Writes a query, and resolves to what its read ends with. */
  ask(): Promise<string>
}

/** Starts it; it connects to this port of 127.0.0.1. */
export async function patient(
  command: readonly string[],
  port: number,
  wrapper: readonly string[] = [],
): Promise<Patient> {
  const { child, line } = start([...wrapper, ...command, String(port)])
  const [, fd] = (await line()).split(' ')
  const pid = child.pid as number
  return {
    pid,
    fd: Number(fd),
    unplug() {
      const descriptor = taken(pid, Number(fd))
      const result = binding.unplug(descriptor, 1)
      binding.close(descriptor)
      if (result !== 0) throw new Error(`unplug: ${descriptor}, ${result}`)
    },
    ask() {
      child.stdin.write('ask\n')
      return line()
    },
    [Symbol.asyncDispose]: () => end(child),
  }
}

export interface Started extends AsyncDisposable {
  child: ChildProcessByStdio<Writable, Readable, null>
  pid: number
  /** The next line that it prints. */
  line(): Promise<string>
}

/** Any process that prints lines. */
export function start(command: readonly string[]): Started {
  const [file = '', ...args] = command
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn(file, args, { cwd: root, env, stdio: ['pipe', 'pipe', 'inherit'] })
  const printed = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    child,
    pid: child.pid as number,
    async line() {
      const { done, value } = await printed.next()
      if (done) throw new Error(`${command.join(' ')} has ended`)
      return value
    },
    [Symbol.asyncDispose]: () => end(child),
  }
}

/** CommonJS source text in a Node process. */
export function startNode(source: string, wrapper: readonly string[] = []): Started {
  return start([...wrapper, process.execPath, '-e', source])
}

async function end(child: ChildProcessByStdio<Writable, Readable, null>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** `npx tcp-keepalive …` */
export function command(
  words: readonly (string | number)[],
  wrapper: readonly string[] = [],
): Promise<Ended> {
  return run([...wrapper, process.execPath, cli, ...words.map(String)])
}
