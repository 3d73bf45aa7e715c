export type { Target } from './apply.js'
export type { DeadPeerMessage } from './channel.js'
export { planDeadPeerTimeout, setDeadPeerTimeout } from './dead-peer.js'
export { type DeadPeerError, isDeadPeerError } from './dead-peer-error.js'
export {
  type DefaultsOptions,
  type DefaultsScope,
  installDefaults,
  type RefusedMessage,
} from './defaults.js'
export { detectionTime } from './detection-time.js'
export { SocketOptionError } from './errors.js'
export { inspectSockets } from './inspect/inspect-sockets.js'
export type {
  InspectedConnection,
  InspectedListener,
  InspectedSocket,
  InspectedSockets,
} from './inspect/look.js'
export { getKeepalive, type KeepaliveSettings, setKeepalive } from './keepalive.js'
export type { DetectionSettings, DetectionTime } from './kernel-rules.js'
export type { DeadPeerOptions, DeadPeerPlan, SlowReader } from './plan.js'
export type { KeepaliveOptions } from './settings.js'
export type { SocketOptionName } from './socket-options.js'
export { type Support, support } from './support.js'
export { type SystemDefaults, systemDefaults } from './system-defaults.js'
export { getTcpInfo, type TcpInfo, type TcpState } from './tcp-info.js'
export { getUserTimeout, setUserTimeout } from './user-timeout.js'
