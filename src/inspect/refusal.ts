/** Why a process cannot be inspected, and what to do: one line each. */
import { release } from 'node:os'
import { isRunning, leaderOf, type Standing, standingTowards } from './procfs.js'

/** Ends a command with exit status 2, after printing its message. */
export class CannotLook extends Error {}

/** The error for a refusal of the kernel, by its code. */
export function refusal(code: string, pid: number, command: string): CannotLook {
  return new CannotLook(messageFor(code, pid, command))
}

function messageFor(code: string, pid: number, command: string): string {
  if (code === 'ENOSYS') {
    return (
      `The kernel refuses (ENOSYS): pidfd_getfd needs Linux 5.6, and this is ${release()}. ` +
      'In a container the seccomp profile may be older than that: run this on the host.'
    )
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    return `This process cannot open more descriptors (${code}): raise ulimit -n.`
  }
  const leader = leaderOf(pid)
  if (leader !== undefined && leader !== pid) {
    return `${pid} is a thread of process ${leader}: use ${leader}.`
  }
  if (leader !== undefined && !isRunning(pid)) return `Process ${pid} has ended.`
  if (code === 'EPERM' || code === 'EACCES') {
    return notAllowed(pid, command, standingTowards(pid))
  }
  if (code === 'ESRCH' || code === 'EINVAL') {
    return `There is no process ${pid}. A process has different numbers inside and outside of a container.`
  }
  if (code === 'ENOENT') {
    return `Process ${pid} has ended, or /proc does not show it to this user (hidepid): ${asRoot(pid, command)}`
  }
  return `The kernel refuses access to process ${pid}: ${code}.`
}

/** The message for EPERM or EACCES, by its cause. */
export function notAllowed(pid: number, command: string, standing: Standing): string {
  const { owner, user, mayTrace, isFiltered, ptraceScope } = standing
  const may = `Not allowed to inspect process ${pid}`
  if (ptraceScope === 3) {
    return `${may}: kernel.yama.ptrace_scope is 3, which forbids it to all users until the next boot.`
  }
  if (mayTrace) {
    return `${may}, although this process has CAP_SYS_PTRACE: it is in another user namespace, or a security module (AppArmor, SELinux) forbids it. Run this on the host.`
  }
  if (user !== 0 && owner !== user) {
    const whose = owner === undefined ? 'another user' : `user ${owner}, and this is user ${user}`
    return `${may}: it belongs to ${whose}. As that user, or as root: ${asRoot(pid, command)}`
  }
  if (user === 0 || isFiltered) {
    const cause = user === 0 ? 'root has no CAP_SYS_PTRACE here' : 'a seccomp profile forbids it'
    return (
      `${may}: ${cause}. Docker: docker run --pid=container:<name> --cap-add=SYS_PTRACE …; ` +
      'Kubernetes: kubectl debug <pod> --target=<container> --profile=sysadmin …; or run this on the host, as root.'
    )
  }
  if (ptraceScope > 0) {
    return `${may}: kernel.yama.ptrace_scope is ${ptraceScope}, which allows it to root only: ${asRoot(pid, command)}`
  }
  return `${may}: it has changed its user, or protects itself (prctl PR_SET_DUMPABLE). As root: ${asRoot(pid, command)}`
}

// sudo has its own PATH, which may not contain npx.
function asRoot(pid: number, command: string): string {
  return `sudo env "PATH=$PATH" npx tcp-keepalive ${command} ${pid}${command === 'set' ? ' …' : ''}`
}
