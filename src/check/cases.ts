/** The connections that `tcp-keepalive check` unplugs. */
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { planDeadPeerTimeout, setDeadPeerTimeout } from '../dead-peer.js'
import { setKeepalive } from '../keepalive.js'
import { type DetectionSettings, kernelDetectionTime, SWEEP_PERIOD } from '../kernel/rules.js'
import { systemDefaults } from '../kernel/system-defaults.js'
import { LATE } from '../kernel/timers.js'
import { getTcpInfo } from '../tcp-info.js'
import { unplug } from '../testing.js'
import { setUserTimeout } from '../user-timeout.js'
import { silentPort } from './silent-port.js'

/** One connection, and what the kernel's rules predict for it. */
export interface Case {
  name: string
  /** The settings as text. */
  settings: string
  /** Milliseconds until the error. */
  predicted: number
  /** Milliseconds by which it may be late, if more than usual. */
  late?: number
  /** Opens the connection; `begin` makes its peer silent. */
  prepare(ground: Ground): Promise<Ready>
}

interface Ready {
  socket: Socket
  /** Returns how many milliseconds the peer has been silent already. */
  begin(): number
}

/** What the cases share: a peer that reads everything, plain and over TLS. */
export interface Ground {
  port: number
  tlsPort: number
  silentPort: number
  close(): Promise<void>
}

// TLS without a certificate: both ends have the same key.
const psk = Buffer.from('tcp-keepalive check')

export async function openGround(): Promise<Ground> {
  const accepted = new Set<Socket>()
  const readAll = (socket: Socket): void => {
    accepted.add(socket)
    socket.on('error', () => {})
    socket.resume()
  }
  const plain = createServer(readAll)
  const tls = createTlsServer({ ciphers: 'PSK', pskCallback: () => psk }, (socket) => {
    readAll(socket)
    socket.write('welcome')
  })
  const silent = await silentPort()
  return {
    port: await listen(plain),
    tlsPort: await listen(tls),
    silentPort: silent.port,
    async close() {
      plain.close()
      tls.close()
      for (const socket of accepted) socket.destroy()
      await silent.close()
    },
  }
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

async function ready(socket: Socket, event: 'connect' | 'data'): Promise<Socket> {
  await new Promise<void>((resolve, reject) => {
    socket.once(event, resolve)
    socket.once('error', reject)
  })
  return socket.removeAllListeners('error')
}

const plain = ({ port }: Ground): Promise<Socket> => ready(connect(port, '127.0.0.1'), 'connect')

// At 'secureConnect' the client's last message may still be in flight: not idle yet.
const tls = ({ tlsPort }: Ground): Promise<Socket> =>
  ready(
    connectTls({
      port: tlsPort,
      host: '127.0.0.1',
      ciphers: 'PSK',
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk, identity: 'check' }),
    }),
    'data',
  )

const KEEPALIVE = { idle: 2, interval: 1, count: 3 }
const USER_TIMEOUT = 4000

function connectionCase(
  name: string,
  settings: DetectionSettings,
  open: (ground: Ground) => Promise<Socket>,
  written: boolean,
): Case {
  const { idle, interval, count, userTimeout } = settings
  const time = kernelDetectionTime(settings, systemDefaults())
  return {
    name,
    settings: inWords(settings),
    predicted: (written ? time.unacknowledged : time.idle) ?? Infinity,
    async prepare(ground) {
      const socket = await open(ground)
      if (idle !== undefined) setKeepalive(socket, { idle, interval, count })
      if (userTimeout !== undefined) setUserTimeout(socket, userTimeout)
      return {
        socket,
        begin() {
          unplug(socket)
          if (written) {
            socket.write('are you there?')
            return 0
          }
          const { lastAckReceivedMs, lastDataReceivedMs } = getTcpInfo(socket)
          return Math.min(lastAckReceivedMs, lastDataReceivedMs)
        },
      }
    },
  }
}

function inWords({ idle, interval, count, userTimeout }: DetectionSettings): string {
  const words: string[] = []
  if (idle !== undefined) words.push(`idle ${idle} s, interval ${interval} s, count ${count}`)
  if (userTimeout !== undefined) words.push(`user timeout ${userTimeout} ms`)
  return words.join('; ')
}

const nodeCase: Case = {
  name: "idle, Node's own",
  settings: 'socket.setKeepAlive(true)',
  predicted: kernelDetectionTime({ enabled: true }, systemDefaults()).idle ?? Infinity,
  async prepare(ground) {
    const socket = (await plain(ground)).setKeepAlive(true)
    return { socket, begin: () => unplug(socket) && 0 }
  },
}

const connectCase: Case = {
  name: 'connecting, no answer',
  settings: inWords({ userTimeout: USER_TIMEOUT }),
  predicted: kernelDetectionTime({ userTimeout: USER_TIMEOUT }, systemDefaults()).connecting,
  async prepare({ silentPort: port }) {
    const socket = new Socket()
    setUserTimeout(socket, USER_TIMEOUT)
    return { socket, begin: () => socket.connect(port, '127.0.0.1') && 0 }
  },
}

/** For systems where this library bounds the connect: later by late timers and two looks of the sweep. */
const boundConnectCase: Case = {
  name: 'connecting, no answer',
  settings: `dead peer timeout ${USER_TIMEOUT} ms`,
  predicted: planDeadPeerTimeout(USER_TIMEOUT, { slowReader: 'end' }).detection.connecting,
  late: 1000 + USER_TIMEOUT * (LATE - 1) + 2 * SWEEP_PERIOD,
  async prepare({ silentPort: port }) {
    const socket = new Socket()
    setDeadPeerTimeout(socket, USER_TIMEOUT)
    return { socket, begin: () => socket.connect(port, '127.0.0.1') && 0 }
  },
}

/** The cases that need no unplugging. */
export function casesWithoutUnplug(): Case[] {
  return [boundConnectCase]
}

export function cases(): Case[] {
  return [
    nodeCase,
    connectionCase('idle, keepalive', KEEPALIVE, plain, false),
    connectionCase('idle, keepalive, TLS', KEEPALIVE, tls, false),
    connectionCase('in flight, keepalive', KEEPALIVE, plain, true),
    connectionCase('in flight, user timeout', { userTimeout: USER_TIMEOUT }, plain, true),
    connectionCase('in flight, both, TLS', { ...KEEPALIVE, userTimeout: USER_TIMEOUT }, tls, true),
    connectCase,
  ]
}
