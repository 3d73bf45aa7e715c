/**
 * The descriptor below a TCP handle, at the moment of use: a remembered one is soon
 * another socket's. Only Node on Unix has it ready.
 */
import { native } from '../native.js'

/** What the handles of the runtimes have, each its own part of it. */
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

/** Bun and Deno have Node's sockets with something else below them. */
export const IS_NODE: boolean =
  process.versions.bun === undefined && process.versions.deno === undefined

/** Whether a descriptor can be had only once the connection stands. */
export const NEEDS_CONNECTION: boolean = !IS_NODE || process.platform === 'win32'

/** The open descriptor of a handle; negative where there is none, or none yet. */
export const openDescriptor: (handle: object) => number = choose()

function choose(): (handle: AnyHandle) => number {
  if (process.versions.deno !== undefined) return borrowed
  if (IS_NODE && process.platform === 'win32') return found
  return (handle) => handle.fd ?? -1
}

/** libuv knows the SOCKET, and tells it to whoever knows its addresses. */
function found(handle: AnyHandle): number {
  const { findSocket } = native()
  const local: Address = {}
  if (findSocket === undefined || handle.getsockname?.(local) !== 0) return -1
  const remote: Address = {}
  // A listener has no peer.
  handle.getpeername?.(remote)
  return findSocket(local.address ?? '', local.port ?? 0, remote.address ?? '', remote.port ?? 0)
}

const lent = new Map<object, number>()

/** Deno makes a new descriptor at every call. Ours last until the code that asked has run. */
function borrowed(handle: AnyHandle): number {
  // Whoever cannot give it back must not take it.
  const { close } = native()
  if (close === undefined) return -1
  const earlier = lent.get(handle)
  if (earlier !== undefined) return earlier
  let descriptor = -1
  try {
    descriptor = handle.fdForIpc?.() ?? -1
  } catch {
    // Closed already.
  }
  if (descriptor < 0) return -1
  if (lent.size === 0) queueMicrotask(giveBack)
  lent.set(handle, descriptor)
  return descriptor
}

function giveBack(): void {
  const { close } = native()
  for (const descriptor of lent.values()) close?.(descriptor)
  lent.clear()
}

/** Why there is nothing to hook outside of Node. */
export const NOT_NODE =
  'This runtime makes its connections where they cannot be seen. Set each socket, server or agent itself.'
