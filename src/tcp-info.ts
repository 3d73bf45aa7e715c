import type { Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { SocketOptionError, unavailable } from './errors.js'
import { has, native } from './native.js'
import { descriptorOf } from './options/read.js'

/** The kernel's names (include/net/tcp_states.h), by its numbers. */
const STATES = [
  'UNKNOWN',
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
] as const

/**
 * The state of a connection (RFC 9293 section 3.3.2, in the kernel's spelling).
 * `'CLOSE'`: the connection has ended (timed out or reset), but the descriptor is still open. The others:
 * `'SYN_SENT'`, `'SYN_RECV'`, `'ESTABLISHED'`, `'FIN_WAIT1'`, `'FIN_WAIT2'`, `'CLOSE_WAIT'`,
 * `'LAST_ACK'`, `'CLOSING'`, `'TIME_WAIT'`, `'NEW_SYN_RECV'`, `'LISTEN'`, and `'UNKNOWN'`
 * for a number that no known kernel uses.
 */
export type TcpState = (typeof STATES)[number]

/**
 * What the kernel knows about a connection: `struct tcp_info` of linux/tcp.h, filled in by
 * tcp_get_info() of net/ipv4/tcp.c. Each name ends with its unit: microseconds (`Us`),
 * milliseconds (`Ms`), bytes, segments; without a unit it is a count.
 *
 * Fields that the running kernel lacks are absent.
 */
export interface TcpInfo {
  /** tcpi_state, by name. */
  state: TcpState
  /** tcpi_retransmits: consecutive retransmission timeouts without an answer. Kept when the connection has ended. */
  retransmits: number
  /** tcpi_probes: consecutive keepalive or zero-window probes without an answer. Kept when the connection has ended. */
  probes: number
  /** tcpi_backoff: how often the retransmission timeout has been doubled. 0 when the connection has ended. */
  backoff: number
  /** tcpi_rto: the current retransmission timeout, doublings included. */
  rtoUs: number
  /** tcpi_rtt: the smoothed round-trip time (RFC 6298, SRTT). */
  rttUs: number
  /** tcpi_rttvar: the round-trip time's variation (RFC 6298, RTTVAR). */
  rttVarianceUs: number
  /** tcpi_min_rtt: the minimum round-trip time within the kernel's window; 4294967295 before the first sample. */
  minRttUs: number
  /** tcpi_rcv_rtt: the round-trip time as estimated by the receiving side; 0 before the first estimate. */
  receiveRttUs: number
  /** tcpi_unacked: sent and not acknowledged. 0 when the connection has ended. */
  unacknowledgedSegments: number
  /** tcpi_lost: of those, assumed to be lost. */
  lostSegments: number
  /** tcpi_sacked: of those, selectively acknowledged. */
  sackedSegments: number
  /** tcpi_retrans: of those, retransmitted and still in flight. */
  retransmittedSegments: number
  /** tcpi_total_retrans: retransmitted since the connection began. */
  totalRetransmittedSegments: number
  /** tcpi_notsent_bytes: written by the program, but not sent yet. */
  notSentBytes: number
  /** tcpi_bytes_sent, retransmissions included. Linux 4.19. */
  sentBytes?: number
  /** tcpi_bytes_retrans. Linux 4.19. */
  retransmittedBytes?: number
  /** tcpi_bytes_acked: acknowledged by the peer; the SYN counts as one. */
  acknowledgedBytes: number
  /** tcpi_bytes_received: received in order, whether read by the program or not; the FIN counts as one. */
  receivedBytes: number
  /** tcpi_segs_out: sent, including those without data. */
  sentSegments: number
  /** tcpi_segs_in: received, including those without data. */
  receivedSegments: number
  /** tcpi_last_data_sent: time since data was last sent. Meaningless before the first. */
  lastDataSentMs: number
  /** tcpi_last_data_recv: time since data was last received. Meaningless before the first. */
  lastDataReceivedMs: number
  /** tcpi_last_ack_recv: time since the peer's last acknowledgement, also of a probe. Kept when the connection has ended. */
  lastAckReceivedMs: number
  /** tcpi_snd_cwnd: the congestion window. */
  congestionWindowSegments: number
  /** tcpi_snd_ssthresh: the slow start threshold; 2147483647 until one is set. */
  slowStartThresholdSegments: number
  /** tcpi_snd_wnd: how much the peer is ready to receive; 0 when it does not read. Linux 5.4. */
  sendWindowBytes?: number
  /** tcpi_rcv_wnd: how much this end is ready to receive. Linux 6.2. */
  receiveWindowBytes?: number
  /** tcpi_rcv_space: the receive buffer's space, as estimated by the kernel's auto-tuning. */
  receiveSpaceBytes: number
  /** tcpi_snd_mss: the largest segment that is sent. */
  sendMssBytes: number
  /** tcpi_rcv_mss: the largest segment that is likely to be received. */
  receiveMssBytes: number
  /** tcpi_pmtu: the path's MTU. */
  pathMtuBytes: number
  /** tcpi_delivery_rate: recent delivery rate; 0 before the first sample. */
  deliveryRateBytesPerSecond: number
}

let fields: Float64Array | undefined

/** The kernel writes the same fields every time, so those that it lacks stay NaN. */
function prepare(): Float64Array {
  if (!has('tcpInfo')) throw unavailable(NO_TCP_INFO)
  fields = native().fields.fill(Number.NaN)
  return fields
}

/**
 * Reads TCP_INFO: a connection's state, round-trip time, retransmissions, probes,
 * outstanding data, and how long the peer has been silent. Side effects: none.
 *
 * @param socket A connected net.Socket or tls.TLSSocket, or one that is connecting.
 * @throws {TypeError} ERR_INVALID_ARG_TYPE: not a net.Socket.
 * @throws {Error} ERR_SOCKET_NOT_CONNECTED until there is a descriptor, ERR_SOCKET_CLOSED,
 * ERR_FEATURE_UNAVAILABLE_ON_PLATFORM.
 * @throws {SocketOptionError} getsockopt failed; ENOTSUP for a Unix-domain socket.
 * @platform Linux, but not gVisor and qemu-user, which lack the numbers; Node, Bun, Deno.
 * @see tcp(7); include/uapi/linux/tcp.h; net/ipv4/tcp.c, tcp_get_info
 *
 * @example
 * const { state, rttUs, lastAckReceivedMs } = getTcpInfo(socket)
 * state // => 'ESTABLISHED'
 * console.log(`RTT ${rttUs / 1000} ms, last acknowledgement ${lastAckReceivedMs} ms ago`)
 */
export function getTcpInfo(socket: Socket): TcpInfo {
  return tcpInfoOf(descriptorOf(socket, 'TCP_INFO'))
}

/** As `getTcpInfo`, from a descriptor. */
export function tcpInfoOf(descriptor: number): TcpInfo {
  const f = fields ?? prepare()
  const length = native().tcpInfo(descriptor)
  if (length < 0) throw refused(length)
  // In the order of ReadTcpInfo in native/sockopt_linux.cc. One literal, because adding
  // fields to an object costs several times the system call.
  const info: TcpInfo = {
    state: STATES[f[0] as number] ?? 'UNKNOWN',
    retransmits: whole(f[1]),
    probes: whole(f[2]),
    backoff: whole(f[3]),
    rtoUs: whole(f[4]),
    rttUs: whole(f[5]),
    rttVarianceUs: whole(f[6]),
    minRttUs: f[7] as number,
    receiveRttUs: f[8] as number,
    unacknowledgedSegments: whole(f[9]),
    lostSegments: whole(f[10]),
    sackedSegments: whole(f[11]),
    retransmittedSegments: whole(f[12]),
    totalRetransmittedSegments: f[13] as number,
    notSentBytes: f[14] as number,
    sentBytes: f[15] as number,
    retransmittedBytes: f[16] as number,
    acknowledgedBytes: f[17] as number,
    receivedBytes: f[18] as number,
    sentSegments: f[19] as number,
    receivedSegments: f[20] as number,
    lastDataSentMs: whole(f[21]),
    lastDataReceivedMs: whole(f[22]),
    lastAckReceivedMs: whole(f[23]),
    congestionWindowSegments: whole(f[24]),
    slowStartThresholdSegments: whole(f[25]),
    sendWindowBytes: f[26] as number,
    receiveWindowBytes: f[27] as number,
    receiveSpaceBytes: f[28] as number,
    sendMssBytes: whole(f[29]),
    receiveMssBytes: whole(f[30]),
    pathMtuBytes: whole(f[31]),
    deliveryRateBytesPerSecond: f[32] as number,
  }
  return length < COMPLETE_BYTES ? withoutAbsent(info) : info
}

/**
 * A field that every kernel writes, as an integer: V8 stores small integers in place, but
 * allocates an object for a double.
 */
function whole(field: number | undefined): number {
  return (field as number) >>> 0
}

/** The length of the struct with all of these fields; tcpi_rcv_wnd of Linux 6.2 is the last. */
const COMPLETE_BYTES = 236

function withoutAbsent(info: TcpInfo): TcpInfo {
  return Object.fromEntries(
    Object.entries(info).filter(([, value]) => !Number.isNaN(value)),
  ) as unknown as TcpInfo
}

/** Why `has('tcpInfo')` is false. */
export const NO_TCP_INFO: string =
  process.platform === 'linux'
    ? 'TCP_INFO has no numbers here: this system only emulates Linux, as gVisor and qemu-user do, or a filter refuses the call.'
    : `TCP_INFO is available on Linux only, not on ${process.platform}.`

function refused(errno: number): Error {
  return getSystemErrorName(errno) === 'ENOSYS'
    ? unavailable(NO_TCP_INFO)
    : new SocketOptionError('getsockopt', errno, 'TCP_INFO')
}
