import { inspect } from 'node:util'
import { has, NO_UNPLUG, native } from './native.js'
import { IS_NODE, NOT_NODE } from './node/descriptor.js'
import { watcher } from './node/watcher.js'
import { NO_TCP_INFO } from './tcp-info.js'

/** For each function: `true`, or the reason why this platform or runtime does not support it. */
export interface Support {
  readonly setKeepalive: true | string
  readonly getKeepalive: true | string
  readonly setUserTimeout: true | string
  readonly getUserTimeout: true | string
  /** With `slowReader: 'keep'`. If this is not `true`, an omitted `slowReader` is `'end'`. */
  readonly setDeadPeerTimeout: true | string
  readonly getTcpInfo: true | string
  /** Also for `tcp-keepalive inspect` and `set`, which need Linux 5.6. */
  readonly inspectSockets: true | string
  /** `installDefaults` and `tcp-keepalive/register`. */
  readonly installDefaults: true | string
  /** Watching: errors of sockets that are not being read. */
  readonly watch: true | string
  /** `unplug` of `tcp-keepalive/testing`. */
  readonly unplug: true | string
}

function binary(): true | string {
  try {
    native()
    return true
  } catch (error) {
    return (error as Error).message
  }
}

function tcpInfo(): true | string {
  const loads = binary()
  return loads !== true || has('tcpInfo') ? loads : NO_TCP_INFO
}

function watching(): true | string {
  const loads = binary()
  if (loads !== true) return loads
  const onItsOwn = 'the error of a socket that is not being read is reported when it is read again.'
  if (process.platform === 'win32' || !watcher().watches)
    return `This runtime or system cannot watch sockets: ${onItsOwn}`
  // Without it a timeout cannot be distinguished from a reset, which Node reports.
  return process.platform !== 'linux' || has('tcpInfo') || `${NO_TCP_INFO} So ${onItsOwn}`
}

/**
 * What this platform and runtime support. Reading a field loads the binary. Never throws.
 *
 * @example
 * if (support.getTcpInfo !== true) console.warn(support.getTcpInfo) // the reason
 */
export const support: Support = {
  get setKeepalive() {
    return binary()
  },
  get getKeepalive() {
    return binary()
  },
  get setUserTimeout() {
    return binary()
  },
  get getUserTimeout() {
    return binary()
  },
  get setDeadPeerTimeout() {
    return tcpInfo()
  },
  get getTcpInfo() {
    return tcpInfo()
  },
  get inspectSockets() {
    return tcpInfo()
  },
  get installDefaults() {
    const loads = binary()
    return loads !== true || IS_NODE ? loads : NOT_NODE
  },
  get watch() {
    return watching()
  },
  get unplug() {
    const loads = binary()
    return loads !== true || has('unplug') ? loads : NO_UNPLUG
  },
  // Without this, console.log would show accessors instead of values.
  [inspect.custom]: () => Object.fromEntries(Object.entries(support)),
} as Support
