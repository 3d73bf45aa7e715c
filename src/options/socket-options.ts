/** The kernel's options, in the order of writing: `Option` of native/sockopt.h. */

export const USER_TIMEOUT = 0
export const RTO_MAX = 1
export const IDLE = 2
export const INTERVAL = 3
export const COUNT = 4
export const KEEPALIVE = 5

/** The kernel's name of an option that this library sets or reads. */
export type SocketOptionName =
  | 'TCP_USER_TIMEOUT'
  | 'TCP_RTO_MAX_MS'
  | 'TCP_KEEPIDLE'
  | 'TCP_KEEPINTVL'
  | 'TCP_KEEPCNT'
  | 'SO_KEEPALIVE'
  | 'TCP_INFO'

export const OPTION_NAMES: readonly SocketOptionName[] = [
  'TCP_USER_TIMEOUT',
  'TCP_RTO_MAX_MS',
  'TCP_KEEPIDLE',
  'TCP_KEEPINTVL',
  'TCP_KEEPCNT',
  'SO_KEEPALIVE',
]

/** The maximum of TCP_KEEPIDLE and TCP_KEEPINTVL (include/net/tcp.h, MAX_TCP_KEEPIDLE). */
export const MAX_SECONDS = 32767
/** The maximum of TCP_KEEPCNT (include/net/tcp.h, MAX_TCP_KEEPCNT). */
export const MAX_COUNT = 127
/** TCP_USER_TIMEOUT is an int of milliseconds. */
export const MAX_MILLISECONDS = 2147483647
