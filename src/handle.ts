/**
 * What Node hides below a socket: the handle, its descriptor, and the moments at which
 * it connects, listens, accepts and closes. Nothing outside of handle/ knows any of it.
 */
export { onConnecting } from './handle/connecting.js'
export { attach, awaitConnect, connectionOf, tellNodeCache } from './handle/connection.js'
export { IS_NODE, NEEDS_CONNECTION, NOT_NODE, openDescriptor } from './handle/descriptor.js'
export { define, socketOf } from './handle/internals.js'
export {
  isTcpHandle,
  listenerOf,
  onAccepting,
  onListened,
  onListening,
} from './handle/listening.js'
export { handleOf, isBoundOnly, notTcp, unproxied } from './handle/socket.js'
export { hookTls } from './handle/tls.js'
export type { Connection, ConnectRequest, TcpHandle } from './handle/types.js'
