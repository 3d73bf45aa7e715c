/** What must not compile. Checked by `tsc --project test/types`; nothing here is run. */
import type { Socket as DatagramSocket } from 'node:dgram'
import type { Agent, Server as HttpServer } from 'node:http'
import type { ClientHttp2Session, Http2SecureServer, ServerHttp2Session } from 'node:http2'
import type { Agent as HttpsAgent } from 'node:https'
import type { Server, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket, Server as TlsServer } from 'node:tls'
import {
  type DeadPeerError,
  type DeadPeerMessage,
  getKeepalive,
  getUserTimeout,
  type InspectedConnection,
  type InspectedListener,
  type InspectedSockets,
  inspectSockets,
  isDeadPeerError,
  type KeepaliveOptions,
  type KeepaliveSettings,
  onDeadPeer,
  SocketOptionError,
  type SocketOptionName,
  setKeepalive,
  setUserTimeout,
  support,
  type TcpState,
} from 'tcp-keepalive'
import { type PlugIn, unplug } from 'tcp-keepalive/testing'

declare const socket: Socket
declare const unknown: unknown

/** Fails to compile unless both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_proof: Same<A, B>): void => {}

// ------------------------------------------------------------- options

setKeepalive(socket, { idle: 60, interval: 10, count: 3 })
setKeepalive(socket, { idle: 60 })
setKeepalive(socket, { idle: undefined, interval: 10 })
setKeepalive(socket, {})
setKeepalive(socket, true)
setKeepalive(socket, false)
setKeepalive(socket, Math.random() > 0.5)
setKeepalive(socket, Object.freeze({ idle: 60 }))

// @ts-expect-error A misspelt field.
setKeepalive(socket, { idel: 60 })
// @ts-expect-error A misspelt field beside a good one.
setKeepalive(socket, { idle: 60, intervall: 10 })
// @ts-expect-error Another function's business.
setKeepalive(socket, { idle: 60, userTimeout: 90_000 })
// @ts-expect-error Seconds are a number.
setKeepalive(socket, { idle: '60' })
// @ts-expect-error Seconds are a number.
setKeepalive(socket, { idle: 60n })
// @ts-expect-error Absent or undefined, not null.
setKeepalive(socket, { idle: null })
// @ts-expect-error
setKeepalive(socket, 60)
// @ts-expect-error
setKeepalive(socket, 'on')
// @ts-expect-error
setKeepalive(socket, null)
// @ts-expect-error
setKeepalive(socket, [60, 10, 3])
// @ts-expect-error
setKeepalive(socket, undefined)
// @ts-expect-error
setKeepalive(socket)

// Node's own names count in milliseconds. They are `never`, so that they do not
// even get through in a variable, where excess properties are not looked for.
same<KeepaliveOptions['initialDelay'], undefined>(true)
same<KeepaliveOptions['enable'], undefined>(true)
same<KeepaliveOptions['keepAliveInitialDelay'], undefined>(true)
const delayed = { idle: 60, initialDelay: 60_000 }
// @ts-expect-error
setKeepalive(socket, delayed)
const enabled = { enable: true, interval: 10 }
// @ts-expect-error
setKeepalive(socket, enabled)
const nodeOptions = { count: 3, keepAliveInitialDelay: 1000 }
// @ts-expect-error
setKeepalive(socket, nodeOptions)

// @ts-expect-error Node's positional form.
setKeepalive(socket, true, 60_000, 10_000, 3)
// @ts-expect-error
setKeepalive(socket, { idle: 60 }, 10)

// ------------------------------------------------------------- the user timeout

setUserTimeout(socket, 90_000)
setUserTimeout(socket, 0)
// @ts-expect-error Milliseconds are a number.
setUserTimeout(socket, '90s')
// @ts-expect-error
setUserTimeout(socket, 90_000n)
// @ts-expect-error
setUserTimeout(socket, { ms: 90_000 })
// @ts-expect-error
setUserTimeout(socket)
// @ts-expect-error
setUserTimeout(socket, 90_000, 3)

// ------------------------------------------------------------- targets

declare const targets:
  | Socket
  | TLSSocket
  | Server
  | TlsServer
  | HttpServer
  | Http2SecureServer
  | Agent
  | HttpsAgent
  | ClientHttp2Session
  | ServerHttp2Session
setKeepalive(targets, true)
setUserTimeout(targets, 90_000)

declare const datagram: DatagramSocket
declare const duplex: Duplex
// @ts-expect-error A datagram socket has no TCP options.
setKeepalive(datagram, true)
// @ts-expect-error
setUserTimeout(datagram, 90_000)
// @ts-expect-error A stream is not a socket.
setKeepalive(duplex, true)
// @ts-expect-error
setUserTimeout(duplex, 90_000)
// @ts-expect-error A descriptor is not a socket.
setKeepalive(5, true)
// @ts-expect-error
setKeepalive({}, true)
// @ts-expect-error
setKeepalive(null, true)
// @ts-expect-error
setKeepalive(undefined, true)

// ------------------------------------------------------------- getters

declare const secure: TLSSocket
declare const server: Server
declare const agent: Agent
same<ReturnType<typeof getKeepalive>, KeepaliveSettings>(true)
same<ReturnType<typeof getUserTimeout>, number>(true)
same<KeepaliveSettings, { enabled: boolean; idle: number; interval: number; count: number }>(true)
getKeepalive(secure)
getUserTimeout(secure)
// @ts-expect-error A getter takes a socket.
getKeepalive(server)
// @ts-expect-error
getUserTimeout(agent)
// @ts-expect-error
getKeepalive(datagram)
// @ts-expect-error
getUserTimeout(duplex)
// What was read can be set again, but for `enabled`.
const { enabled: on, ...again } = getKeepalive(socket)
setKeepalive(socket, on && again)

// ------------------------------------------------------------- errors

if (isDeadPeerError(unknown)) {
  same<typeof unknown, DeadPeerError>(true)
  same<
    typeof unknown.code,
    | 'ETIMEDOUT'
    | 'EHOSTUNREACH'
    | 'EHOSTDOWN'
    | 'ENETUNREACH'
    | 'ECONNREFUSED'
    | 'EACCES'
    | 'ENOPROTOOPT'
  >(true)
  const errno: number = unknown.errno
  const syscall: 'read' | 'write' | 'connect' = unknown.syscall
  const error: Error = unknown
  void [errno, syscall, error]
  // @ts-expect-error No such verdict.
  unknown.code === 'ECONNRESET'
}

if (unknown instanceof SocketOptionError) {
  const option: SocketOptionName = unknown.option
  const changed: readonly SocketOptionName[] = unknown.changed
  const syscall: 'setsockopt' | 'getsockopt' = unknown.syscall
  void [option, changed, syscall, unknown.code.length, unknown.errno.toFixed()]
  // @ts-expect-error What has happened is not to be edited.
  unknown.option = 'TCP_KEEPIDLE'
  // @ts-expect-error
  unknown.changed.push('TCP_KEEPIDLE')
}

// ------------------------------------------------------------- dead peers

const stop: () => void = onDeadPeer((message) => {
  same<typeof message, DeadPeerMessage>(true)
  same<typeof message.error, DeadPeerError>(true)
  same<typeof message.socket, Socket>(true)
  same<typeof message.remotePort, number | undefined>(true)
})
void stop
onDeadPeer(() => {})
onDeadPeer(async ({ error }) => error.code)
// @ts-expect-error It is told of every connection.
onDeadPeer(socket, () => {})
// @ts-expect-error
onDeadPeer()
// @ts-expect-error The channel's name is no part of it.
onDeadPeer((_message: DeadPeerMessage, name: string) => void name)

// ------------------------------------------------------------- the rest

const reason: true | string = support.setUserTimeout
void reason
// @ts-expect-error
support.setUserTimeout = true
// @ts-expect-error
support.heartbeat

const { connections, listeners }: InspectedSockets = inspectSockets()
for (const connection of connections) {
  same<typeof connection, InspectedConnection>(true)
  same<typeof connection.state, TcpState>(true)
  const idle: number | null = connection.detection.idle
  void [idle, connection.userTimeout, connection.neverNoticed && connection.remotePort.toFixed()]
  // @ts-expect-error It may have none.
  connection.userTimeout.toFixed()
  // @ts-expect-error What was read is not to be edited.
  connection.fd = 3
}
for (const listener of listeners) {
  same<typeof listener, InspectedListener>(true)
  // @ts-expect-error A listener has no peer.
  listener.remoteAddress
}
// @ts-expect-error
inspectSockets(socket)

const plugIn: PlugIn = unplug(secure)
plugIn()
plugIn[Symbol.dispose]()
{
  using _unplugged = unplug(socket)
}
// @ts-expect-error
unplug(server)
// @ts-expect-error
unplug(datagram)
