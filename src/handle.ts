/**
 * What Node hides below a socket: the handle, its descriptor, and the moments at which
 * it connects, listens, accepts and closes. Nothing outside of handle/ knows any of it.
 */
export { IS_NODE, NEEDS_CONNECTION, NOT_NODE, openDescriptor } from './handle/descriptor.js'
export {
  type HandleHooks,
  hang,
  hook,
  hooksOf,
  type Observer,
  type ServerHooks,
  type SocketHooks,
} from './handle/hooks.js'
export { define, socketOf } from './handle/internals.js'
export { isTcpHandle, listenerOf, onAccepting, onListened } from './handle/listening.js'
export { loop, type Watched } from './handle/loop.js'
export { handleOf, isBoundOnly, notTcp, unproxied } from './handle/socket.js'
export type { ConnectRequest, TcpHandle } from './handle/types.js'
