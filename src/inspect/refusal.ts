/** Why a process cannot be looked into, and what to do: one line each. */
import { release } from 'node:os'
import { isRunning, leaderOf, type Standing, standingTowards } from './procfs.js'

/** Ends a command with exit status 2; its message is for people. */
export class CannotLook extends Error {}

/** The words for a refusal of the kernel, by its name. */
export function refusal(code: string, pid: number, command: string): CannotLook {
  return new CannotLook(wordsFor(code, pid, command))
}

function wordsFor(code: string, pid: number, command: string): string {
  if (code === 'ENOSYS') {
    return (
      `The kernel refuses (ENOSYS): pidfd_getfd came with Linux 5.6, and this is ${release()}. ` +
      'In a container the seccomp profile may be older than that; run it on the host.'
    )
  }
  if (code === 'EMFILE' || code === 'ENFILE') {
    return `This process can open no more descriptors (${code}): raise ulimit -n.`
  }
  const leader = leaderOf(pid)
  if (leader !== undefined && leader !== pid) {
    return `${pid} is a thread of process ${leader}: give ${leader}.`
  }
  if (leader !== undefined && !isRunning(pid)) return `Process ${pid} has ended.`
  if (code === 'EPERM' || code === 'EACCES') {
    return notAllowed(pid, command, standingTowards(pid))
  }
  if (code === 'ESRCH' || code === 'EINVAL') {
    return `There is no process ${pid}. In a container, processes have other numbers than outside.`
  }
  if (code === 'ENOENT') {
    return `Process ${pid} has ended, or /proc does not show it to this user (hidepid): ${asRoot(pid, command)}`
  }
  return `The kernel refuses to let process ${pid} be looked into: ${code}.`
}

/** The cause at hand. */
export function notAllowed(pid: number, command: string, standing: Standing): string {
  const { owner, user, mayTrace, isFiltered, ptraceScope } = standing
  const may = `Not allowed to look into process ${pid}`
  if (ptraceScope === 3) {
    return `${may}: kernel.yama.ptrace_scope is 3, which forbids it to everybody until the next boot.`
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
      'Kubernetes: kubectl debug <pod> --target=<container> --profile=sysadmin …; or run it on the host, as root.'
    )
  }
  if (ptraceScope > 0) {
    return `${may}: kernel.yama.ptrace_scope is ${ptraceScope}, which allows it to root alone: ${asRoot(pid, command)}`
  }
  return `${may}: it has changed its user, or protects itself (prctl PR_SET_DUMPABLE). As root: ${asRoot(pid, command)}`
}

// sudo has a PATH of its own, in which there may be no npx.
function asRoot(pid: number, command: string): string {
  return `sudo env "PATH=$PATH" npx tcp-keepalive ${command} ${pid}${command === 'set' ? ' …' : ''}`
}
