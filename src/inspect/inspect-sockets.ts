import { sweptDescriptors } from '../connection/sweep.js'
import { refuseMore, unavailable } from '../errors.js'
import { systemDefaults } from '../kernel/system-defaults.js'
import { support } from '../support.js'
import { type Inspected, type InspectedSockets, look, sorted } from './look.js'
import { inodeOf, socketsOf } from './procfs.js'

/**
 * Returns every TCP socket of this process, opened by Node or by a native client (librdkafka,
 * libpq, Prisma's engine), whose sockets `installDefaults` does not reach. For each: its
 * settings, its unacknowledged data, how long the peer has been silent, and when a dead peer
 * would become an error, by the kernel's rules and, on sockets of `setDeadPeerTimeout`, by this
 * library's.
 *
 * Reads from procfs and the kernel, and changes nothing. Blocks the event loop for about 0.1 ms
 * per connection. `npx tcp-keepalive inspect <pid>` shows the same for another process.
 *
 * @returns The connections, the worst first, and the listeners.
 * @throws {TypeError} ERR_INVALID_ARG_VALUE: it takes no arguments.
 * @throws {Error} ERR_FEATURE_UNAVAILABLE_ON_PLATFORM; what `fs` throws if procfs cannot be read.
 * @platform Linux; Node.
 * @see proc(5), at /proc/pid/fd; tcp(7); net/ipv4/tcp.c, tcp_get_info
 *
 * @example
 * const { connections } = inspectSockets()
 * const unguarded = connections.filter(({ neverNoticed }) => neverNoticed)
 * unguarded.some(({ remotePort }) => remotePort === socket.remotePort) // => true
 * setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
 */
export function inspectSockets(): InspectedSockets {
  if (arguments.length > 0) {
    refuseMore('inspectSockets()', 0, arguments, 'npx tcp-keepalive inspect for another process')
  }
  const reason = support.inspectSockets
  if (reason !== true) throw unavailable(reason)
  const silences = sweptDescriptors()
  const host = systemDefaults()
  const sockets: Inspected[] = []
  for (const [fd, inode] of socketsOf('self')) {
    const socket = look(fd, fd, host, silences.get(fd))
    // A thread of a native client may have closed it, and the number may belong to another socket.
    if (socket !== undefined && isStill(fd, inode)) sockets.push(socket)
  }
  return sorted(sockets)
}

function isStill(descriptor: number, inode: number): boolean {
  try {
    return inodeOf(descriptor) === inode
  } catch {
    return false
  }
}
