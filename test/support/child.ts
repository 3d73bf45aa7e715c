/** A Node process of its own, in which the built product is required. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { PROCESS_MS } from './patience.mts'

const root = join(__dirname, '..', '..')

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface ChildOptions {
  env?: NodeJS.ProcessEnv
  /** Put before `node`, as `['ip', 'netns', 'exec', 'name']` is. */
  wrapper?: readonly string[]
  /** Node's own arguments. */
  flags?: readonly string[]
}

/** Runs CommonJS source text, in which `require('tcp-keepalive')` is the built product. */
export function runNode(source: string, options: ChildOptions = {}): Promise<Ended> {
  const { wrapper = [], flags = [] } = options
  return run([...wrapper, process.execPath, ...flags, '-e', source], { env: options.env })
}

/** Runs a command to its end, at the project's root unless told otherwise. */
export async function run(
  command: readonly string[],
  {
    env = {},
    cwd = root,
    timeout = PROCESS_MS,
  }: {
    env?: NodeJS.ProcessEnv | undefined
    cwd?: string
    /** Milliseconds, after which it is killed. */
    timeout?: number
  } = {},
): Promise<Ended> {
  const [file = '', ...args] = command
  // What vitest sets for its workers is not what a user's process has.
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const child = spawn(file, args, {
    cwd,
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout, stderr }
}

/** The JSON that a child has printed; a child that failed is a failed test with its stderr. */
export async function answerOf<T>(source: string, options: ChildOptions = {}): Promise<T> {
  const ended = await runNode(source, options)
  if (ended.code !== 0) {
    throw new Error(`child ended with ${ended.signal ?? ended.code}:\n${ended.stderr}`)
  }
  return JSON.parse(ended.stdout) as T
}
