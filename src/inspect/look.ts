/** The kernel's state of a TCP socket, from a descriptor, and the resulting detection times. */
import { getSystemErrorName } from 'node:util'
import { pathOf } from '../detection-time.js'
import type { KeepaliveSettings } from '../keepalive.js'
import { rtoMaxForClosedWindow } from '../kernel/closed-window.js'
import { type DetectionTime, kernelDetectionTime } from '../kernel/rules.js'
import type { SystemDefaults } from '../kernel/system-defaults.js'
import { native } from '../native.js'
import { type Settings, UNTOUCHED } from '../options/settings.js'
import {
  COUNT,
  IDLE,
  INTERVAL,
  KEEPALIVE,
  RTO_MAX,
  USER_TIMEOUT,
} from '../options/socket-options.js'
import { type TcpState, tcpInfoOf } from '../tcp-info.js'

/** What listeners and connections have in common. */
export interface InspectedSocket {
  /** The descriptor, as the process numbers it. */
  readonly fd: number
  /** An IPv4 address on an IPv6 socket reads `'::ffff:10.0.0.5'`, as in Node. */
  readonly localAddress: string
  readonly localPort: number
  /** SO_KEEPALIVE, TCP_KEEPIDLE (**seconds**), TCP_KEEPINTVL (**seconds**), TCP_KEEPCNT (**probes**). */
  readonly keepalive: KeepaliveSettings
  /** TCP_USER_TIMEOUT in **milliseconds**; 0 is the kernel's default, `null` means that the socket lacks the option (MPTCP). */
  readonly userTimeout: number | null
}

/** A listener; accepted connections inherit its options. */
export interface InspectedListener extends InspectedSocket {
  /** How many connections have not been accepted yet, and the maximum. */
  readonly acceptQueue: number
  readonly backlog: number
}

/** A connection: its settings, its outstanding data, and when a dead peer would be noticed. */
export interface InspectedConnection extends InspectedSocket {
  readonly remoteAddress: string
  readonly remotePort: number
  /** `'CLOSE'`: the connection has ended, but the program has not closed the descriptor. */
  readonly state: TcpState
  /** **Bytes** written and not acknowledged by the peer, whether sent or not: Send-Q of ss(8). */
  readonly unacknowledgedBytes: number
  /** **Bytes** received and not read by the program: Recv-Q of ss(8). */
  readonly unreadBytes: number
  /** **Milliseconds** since the peer's last segment; `null` before its first. */
  readonly silentMs: number | null
  /** Consecutive retransmission timeouts without an answer (tcpi_retransmits). */
  readonly retransmits: number
  /**
   * **Milliseconds** until the next retransmission; `null` if none is unanswered. The kernel checks
   * the user timeout only then, which may be in two minutes.
   */
  readonly nextRetransmissionMs: number | null
  /** Consecutive keepalive or window probes without an answer (tcpi_probes). */
  readonly probes: number
  /** The peer has no room for the outstanding data: its program does not read. */
  readonly windowClosed: boolean
  /** The outstanding data was retransmitted, and the peer has answered without accepting it. */
  readonly takesNothing: boolean
  /** When a dead peer becomes an error, in **milliseconds** per state, with this connection's round-trip time. */
  readonly detection: DetectionTime
  /** Established, and a dead peer is never noticed while nothing is in flight: keepalive is off. */
  readonly neverNoticed: boolean
}

/** Every TCP socket of a process, except those that are neither connected nor listening. */
export interface InspectedSockets {
  /** The worst first: ended, with unanswered probes, never noticed, then by the longest detection time. */
  readonly connections: readonly InspectedConnection[]
  readonly listeners: readonly InspectedListener[]
}

export type Inspected = InspectedConnection | InspectedListener

export function isConnection(socket: Inspected): socket is InspectedConnection {
  return 'state' in socket
}

/**
 * Reads the state of a socket without changing it. SO_ERROR is not read, because reading clears it.
 *
 * @param descriptor A descriptor of this process.
 * @param fd The number to report: that of the inspected process.
 * @param silence The silence of the sweep of `setDeadPeerTimeout`; 0 if it does not run.
 * @param instead Settings to show in place of the socket's own.
 * @throws {Error} ERR_FEATURE_UNAVAILABLE_ON_PLATFORM if there is no TCP_INFO.
 * @returns Undefined if it is not a TCP socket, or neither connected nor listening.
 */
export function look(
  descriptor: number,
  fd: number,
  host: SystemDefaults,
  silence = 0,
  instead: Settings = UNTOUCHED,
): Inspected | undefined {
  const { integers, get, tcpInfo, localAddress, peerAddress, unacknowledged, unread } = native()
  const length = tcpInfo(descriptor)
  // Only TCP sockets have it. If the system has none at all, tcpInfoOf throws.
  if (length < 0 && getSystemErrorName(length) !== 'ENOSYS') return undefined
  const info = tcpInfoOf(descriptor)
  const localPort = localAddress?.(descriptor) ?? -1
  const local = { localAddress: addressText(), localPort }
  if (get(descriptor, KEEPALIVES) !== 0 || localPort < 0) return undefined
  const keepalive = {
    enabled: either(instead.keepalive, integers[KEEPALIVE]) === 1,
    idle: either(instead.idle, integers[IDLE]),
    interval: either(instead.interval, integers[INTERVAL]),
    count: either(instead.count, integers[COUNT]),
  }
  const has = option(descriptor, USER_TIMEOUT)
  const userTimeout = has === null ? null : either(instead.userTimeout, has)
  const common = { fd, ...local, keepalive, userTimeout }
  const { state, unacknowledgedSegments, sackedSegments, retransmits, probes } = info
  // For a listener the kernel puts the queue's length and limit there.
  if (state === 'LISTEN')
    return { ...common, acceptQueue: unacknowledgedSegments, backlog: sackedSegments }

  const remotePort = peerAddress(descriptor)
  if (remotePort < 0) return undefined
  const remoteAddress = addressText()
  const bytes = Math.max(0, unacknowledged?.(descriptor) ?? 0)
  const settings = {
    ...keepalive,
    userTimeout: userTimeout ?? 0,
    rtoMax: silence > 0 ? rtoMaxForClosedWindow(silence) : option(descriptor, RTO_MAX),
    silence,
  }
  const connecting = state === 'SYN_SENT' || state === 'SYN_RECV'
  const detection = kernelDetectionTime(settings, host, connecting ? {} : pathOf(info))
  return {
    ...common,
    remoteAddress,
    remotePort,
    state,
    unacknowledgedBytes: bytes,
    unreadBytes: Math.max(0, unread(descriptor)),
    silentMs:
      info.receivedSegments === 0
        ? null
        : Math.min(info.lastAckReceivedMs, info.lastDataReceivedMs),
    retransmits,
    nextRetransmissionMs:
      retransmits > 0 && bytes > 0 && state !== 'CLOSE'
        ? Math.max(0, Math.round(info.rtoUs / 1000) - info.lastDataSentMs)
        : null,
    probes,
    windowClosed: !connecting && bytes > 0 && info.sendWindowBytes === 0,
    takesNothing: retransmits > 0 && bytes > 0 && info.lastAckReceivedMs <= info.lastDataSentMs,
    detection,
    neverNoticed: CAN_BE_IDLE.has(state) && detection.idle === null,
  }
}

const KEEPALIVES = (1 << IDLE) | (1 << INTERVAL) | (1 << COUNT) | (1 << KEEPALIVE)
/** States in which a connection can be idle: in the others, a SYN or a FIN waits for an answer. */
const CAN_BE_IDLE = new Set<TcpState>(['ESTABLISHED', 'CLOSE_WAIT', 'FIN_WAIT2'])

/** A negative number means unchanged. */
function either(wanted: number, is: number | undefined): number {
  return wanted >= 0 ? wanted : (is as number)
}

/** `null` if the kernel or the socket does not know the option. */
function option(descriptor: number, number: number): number | null {
  const { get, integers } = native()
  return get(descriptor, 1 << number) === 0 ? (integers[number] as number) : null
}

/** The address that `localAddress` or `peerAddress` has written. */
function addressText(): string {
  const { bytes } = native()
  return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString('latin1')
}

/** The worst first, listeners separately. */
export function sorted(sockets: readonly Inspected[]): InspectedSockets {
  const connections = sockets.filter(isConnection)
  connections.sort((one, other) => rank(one) - rank(other) || weight(other) - weight(one))
  const listeners = sockets.filter((socket): socket is InspectedListener => !isConnection(socket))
  return { connections, listeners }
}

function rank(connection: InspectedConnection): number {
  if (connection.state === 'CLOSE') return 0
  if (connection.retransmits > 0 || connection.probes > 0) return 1
  return connection.neverNoticed ? 2 : 3
}

function weight(connection: InspectedConnection): number {
  const { idle, unacknowledged } = connection.detection
  return rank(connection) < 3 ? (connection.silentMs ?? 0) : Math.max(idle ?? 0, unacknowledged)
}
