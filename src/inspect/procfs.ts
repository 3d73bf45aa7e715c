/** What procfs shows of a process: its sockets, its owner, its network namespace. */
import { execFileSync } from 'node:child_process'
import { fstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type SystemDefaults, systemDefaults } from '../kernel/system-defaults.js'

/** The inode of each descriptor that is a socket. It identifies the socket in every process. */
export function socketsOf(pid: number | 'self'): Map<number, number> {
  const sockets = new Map<number, number>()
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    const inode = socketAt(pid, Number(name))
    if (inode !== undefined) sockets.set(Number(name), inode)
  }
  return sockets
}

/** The inode of the socket to which this descriptor of the process now refers. */
export function socketAt(pid: number | 'self', fd: number): number | undefined {
  let target: string
  try {
    target = readlinkSync(`/proc/${pid}/fd/${fd}`)
  } catch (error) {
    // The process has closed it since.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1]
  return inode === undefined ? undefined : Number(inode)
}

/** The same for a descriptor of this process. */
export function inodeOf(descriptor: number): number {
  return fstatSync(descriptor).ino
}

/** The command line of a process, or its name. */
export function commandOf(pid: number): string {
  const words = textOf(`/proc/${pid}/cmdline`).split('\0')
  return words.join(' ').trim() || textOf(`/proc/${pid}/comm`).trim()
}

export interface Standing {
  /** The owner of the process; undefined if it cannot be seen. */
  readonly owner: number | undefined
  readonly user: number
  /** Whether this process has CAP_SYS_PTRACE. */
  readonly mayTrace: boolean
  /** Whether a seccomp filter applies to this process. */
  readonly isFiltered: boolean
  /** kernel.yama.ptrace_scope; 0 without Yama. */
  readonly ptraceScope: number
}

const CAP_SYS_PTRACE = 19n

/** What determines whether this process may inspect that one. */
export function standingTowards(pid: number): Standing {
  const self = statusOf('self')
  const effective = BigInt(`0x${self.get('CapEff') ?? '0'}`)
  return {
    owner: ownerOf(pid),
    user: process.geteuid?.() ?? -1,
    mayTrace: ((effective >> CAP_SYS_PTRACE) & 1n) === 1n,
    isFiltered: self.get('Seccomp') === '2',
    ptraceScope: Number(textOf('/proc/sys/kernel/yama/ptrace_scope')),
  }
}

/** The number of the process to which a thread belongs; undefined if there is no such thread, or it cannot be seen. */
export function leaderOf(pid: number): number | undefined {
  const leader = statusOf(pid).get('Tgid')
  return leader === undefined ? undefined : Number(leader)
}

/** False for a zombie, too, which has ended but has not been waited for. */
export function isRunning(pid: number): boolean {
  return /^[^ZX]/.test(statusOf(pid).get('State') ?? '')
}

/**
 * The defaults of the process's network namespace. procfs shows those of the reading process,
 * so for another namespace a child process reads them there; that needs root.
 *
 * @returns Undefined if they cannot be read.
 */
export function defaultsOf(pid: number): SystemDefaults | undefined {
  const network = networkOf(pid)
  if (network === undefined || network === networkOf('self')) return systemDefaults()
  const code = 'JSON.stringify(require(process.argv[1]).systemDefaults())'
  const inside = [`--net=/proc/${pid}/ns/net`, process.execPath, '-p', code, INDEX]
  const { NODE_OPTIONS: _, ...env } = process.env
  try {
    const answer = execFileSync('nsenter', inside, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 30_000,
      env,
    })
    return JSON.parse(answer) as SystemDefaults
  } catch {
    return undefined
  }
}

const INDEX = join(__dirname, '..', 'index.js')

function networkOf(pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

function ownerOf(pid: number): number | undefined {
  try {
    return statSync(`/proc/${pid}`).uid
  } catch {
    return undefined
  }
}

function statusOf(pid: number | 'self'): Map<string, string> {
  const lines = textOf(`/proc/${pid}/status`).split('\n')
  return new Map(lines.map((line) => line.split(/:\s*/, 2) as [string, string]))
}

/** Empty if it cannot be read. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
