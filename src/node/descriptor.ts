/**
 * The descriptor below a TCP handle, read at the moment of use: after a close the number is reused
 * for another socket. Only Node on Unix provides it directly.
 */
import { native } from '../native.js'

/** The fields of the runtimes' handles; each runtime has some of them. */
interface AnyHandle {
  readonly fd?: number
  fdForIpc?(): number
  getsockname?(out: Address): number
  getpeername?(out: Address): number
}

interface Address {
  address?: string
  port?: number
}

/** Bun and Deno have Node's sockets, with other handles below them. */
export const IS_NODE: boolean =
  process.versions.bun === undefined && process.versions.deno === undefined

/** Whether a descriptor is available only once the connection is established. */
export const NEEDS_CONNECTION: boolean = !IS_NODE || process.platform === 'win32'

/** The open descriptor of a handle; negative if there is none, or none yet. */
export const openDescriptor: (handle: object) => number = choose()

function choose(): (handle: AnyHandle) => number {
  if (process.versions.deno !== undefined) return borrowed
  if (IS_NODE && process.platform === 'win32') return found
  return (handle) => handle.fd ?? -1
}

const foundFor = new WeakMap<object, number>()

/**
 * On Windows: finds the SOCKET among libuv's handles, by its addresses. That looks at every handle,
 * so it is done once per handle: the SOCKET of a handle changes only by its close, after which
 * libuv reports no address for the handle.
 */
function found(handle: AnyHandle): number {
  const { findSocket } = native()
  const local: Address = {}
  if (findSocket === undefined || handle.getsockname?.(local) !== 0) return -1
  const known = foundFor.get(handle)
  if (known !== undefined) return known
  const remote: Address = {}
  // A listener has no peer.
  handle.getpeername?.(remote)
  const { address = '', port = 0 } = remote
  const descriptor = findSocket(local.address ?? '', local.port ?? 0, address, port)
  if (descriptor >= 0) foundFor.set(handle, descriptor)
  return descriptor
}

const borrowedFrom = new Map<object, number>()

/** Deno creates a new descriptor at every call. We close ours in a microtask, after the calling code has run. */
function borrowed(handle: AnyHandle): number {
  // Do not borrow a descriptor that we cannot close.
  const { close } = native()
  if (close === undefined) return -1
  const earlier = borrowedFrom.get(handle)
  if (earlier !== undefined) return earlier
  let descriptor = -1
  try {
    descriptor = handle.fdForIpc?.() ?? -1
  } catch {
    // The socket is closed already.
  }
  if (descriptor < 0) return -1
  if (borrowedFrom.size === 0) queueMicrotask(closeBorrowed)
  borrowedFrom.set(handle, descriptor)
  return descriptor
}

function closeBorrowed(): void {
  const { close } = native()
  for (const descriptor of borrowedFrom.values()) close?.(descriptor)
  borrowedFrom.clear()
}

/** Why nothing can be hooked outside of Node. */
export const NOT_NODE =
  'The connections of this runtime cannot be intercepted. Set each socket, server or agent itself.'
