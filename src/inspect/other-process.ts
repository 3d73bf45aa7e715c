/** The sockets of another process, one at a time. */
import { getSystemErrorName } from 'node:util'
import { native } from '../native.js'
import { inodeOf, isRunning, socketsOf } from './procfs.js'
import { CannotLook, refusal } from './refusal.js'

/**
 * Calls `visit` for each socket of a process with a duplicated descriptor, and closes that before
 * the next one: while it is open, the connection stays open even if the process closes it.
 *
 * @param only The descriptors of the process to visit; `undefined`: all.
 */
export function visitSockets(
  pid: number,
  command: string,
  only: ReadonlySet<number> | undefined,
  visit: (descriptor: number, fd: number, inode: number) => void,
): void {
  if (process.platform !== 'linux') {
    throw new CannotLook(
      `Access to the descriptors of another process is possible on Linux only, not on ${process.platform}.`,
    )
  }
  const { openProcess, takeDescriptor, close } = native()
  if (openProcess === undefined || takeDescriptor === undefined || close === undefined) {
    throw new CannotLook('The binary is older than this command: install the package again.')
  }
  const granted = (result: number): number => {
    if (result < 0) throw refusal(getSystemErrorName(result), pid, command)
    return result
  }
  const opened = granted(openProcess(pid))
  try {
    for (const [fd, inode] of listed(pid, command)) {
      if (only?.has(fd) === false) continue
      const descriptor = takeDescriptor(opened, fd)
      // The process has closed it since.
      if (descriptor < 0 && getSystemErrorName(descriptor) === 'EBADF') continue
      granted(descriptor)
      try {
        // The number may have been reused for another socket.
        if (inodeOf(descriptor) === inode) visit(descriptor, fd, inode)
      } finally {
        close(descriptor)
      }
    }
    // A process that is exiting has no descriptors any more.
    if (!isRunning(pid)) throw refusal('ESRCH', pid, command)
  } finally {
    close(opened)
  }
}

function listed(pid: number, command: string): Map<number, number> {
  try {
    return socketsOf(pid)
  } catch (error) {
    throw refusal(String((error as NodeJS.ErrnoException).code), pid, command)
  }
}
