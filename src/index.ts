export type { DeadPeerMessage } from './connection/dead-peer-channel.js'
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
export type { DeadPeerOptions, DeadPeerPlan, SlowReader } from './kernel/plan.js'
export type { DetectionSettings, DetectionTime } from './kernel/rules.js'
export { type SystemDefaults, systemDefaults } from './kernel/system-defaults.js'
export { onDeadPeer } from './on-dead-peer.js'
export type { KeepaliveOptions } from './options/settings.js'
export type { SocketOptionName } from './options/socket-options.js'
export { type Support, support } from './support.js'
export type { Target } from './targets/apply.js'
export { getTcpInfo, type TcpInfo, type TcpState } from './tcp-info.js'
export { getUserTimeout, setUserTimeout } from './user-timeout.js'
