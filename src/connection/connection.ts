/** What this library knows of one connection, from its first settings until its handle closes. */
import { AsyncResource } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { debug } from '../debug.js'
import { errnoOf, systemError } from '../errors.js'
import { hostDefaults } from '../kernel/system-defaults.js'
import { LATE } from '../kernel/timers.js'
import { has, native, TCP_INFO } from '../native.js'
import { bufferedBytes } from '../node/buffered.js'
import { openDescriptor } from '../node/descriptor.js'
import { handleOf, unproxied } from '../node/handle.js'
import {
  type ConnectRequest,
  failConnect,
  type HandleHooks,
  hang,
  hook,
  hooksOf,
} from '../node/hooks.js'
import type { TcpHandle } from '../node/internals.js'
import { define } from '../node/internals.js'
import { type Watched, watcher } from '../node/watcher.js'
import { merge } from '../options/merge.js'
import { LEAVE, type Settings, UNTOUCHED } from '../options/settings.js'
import { COUNT, IDLE, INTERVAL, RTO_MAX, USER_TIMEOUT } from '../options/socket-options.js'
import { publishDeadPeer } from './dead-peer-channel.js'
import type { Liveness } from './liveness.js'
import { BEING_READ, Reader, type Stop } from './reader.js'
import { type EndedConnection, hasTimedOut } from './timed-out.js'

/** What set a connection: defaults, or a setter that was called for it. */
export type SetBy = 'defaults' | 'a setter'

/** The async context of a connection's `'error'`: that of the call that first set the connection. */
class Context extends AsyncResource {
  /** Does not keep the process running, and does not count as an open handle (why-is-node-running). */
  hasRef(): boolean {
    return false
  }
}

const newContext = (): Context => new Context('TCPKEEPALIVE', { requireManualDestroy: true })

/** Long enough for Node to report first the errors that it finds itself. */
const LOOK_MS = 20
const NODE_FIRST_MS = 60
/** A program that may have read this recently gets the remaining data before the error. */
const AT_WORK_MS = 1000

/** A connect attempt that this library ends if the kernel does not. */
export interface Connect {
  readonly request: ConnectRequest
  /** When it began, by the binding's clock. */
  readonly began: number
  /** Milliseconds, as currently set; 0 or less: no timeout. */
  timeout(): number
  /** The last look found it overdue. */
  overdue: boolean
}

export class Connection implements HandleHooks, Watched {
  readonly handle: TcpHandle
  /** The socket that the program uses: under TLS the TLSSocket, once there is one. */
  socket: Socket | undefined
  settings: Settings = UNTOUCHED
  /** Who set the settings that later `setKeepAlive(true, …)` calls must not override. */
  private lockedBy: SetBy | undefined
  /** The watched descriptor, and its ticket; 0 while it is not watched. */
  private descriptor = -1
  private ticket = 0
  private context: Context | undefined
  private stop: Stop = BEING_READ
  /** What remains to be done once it is established, and what bounds the connect until then. */
  onEstablished: (() => void) | undefined
  connect: Connect | undefined
  /** The sweep's slot for its next look, and when the last look was; `liveness` while something waits. */
  slot: { remove(connection: Connection): void } | undefined
  looked = 0
  liveness: Liveness | undefined
  private reader: Reader | undefined
  /** The handle has closed: nothing remains to be done. */
  closed = false

  private constructor(handle: TcpHandle, socket: Socket | undefined) {
    this.handle = handle
    this.socket = socket
    if (isStopped(handle)) this.reading(false)
  }

  static of(handle: TcpHandle): Connection | undefined {
    return hooksOf(handle)
  }

  static at(handle: TcpHandle, socket: Socket | undefined): Connection {
    const known = Connection.of(handle)
    if (known !== undefined && !known.closed) return known
    const hooked = hook() !== undefined
    const connection = new Connection(handle, socket === undefined ? socket : unproxied(socket))
    hang(handle, connection)
    if (!hooked) hookForeign(handle, connection)
    return connection
  }

  /** Records settings that were written; locks and watches the connection. */
  add(settings: Settings, by: SetBy): void {
    this.settings = merge(this.settings, settings)
    // The write has just replaced the sweep's value.
    if (settings.rtoMax >= 0 && this.liveness !== undefined) this.liveness.rtoMax = 0
    if (settings.locked === 0) this.lockedBy = undefined
    else if (settings.locked === 1 && this.lockedBy !== 'a setter') this.lockedBy = by
    if (this.ticket === 0) this.watch()
  }

  /** If watching fails, the next setter call retries. */
  private watch(): void {
    this.context ??= newContext()
    const descriptor = openDescriptor(this.handle)
    const result = watcher().watch(descriptor, this)
    if (result < 0) {
      debug('descriptor %d is not watched: %d', descriptor, result)
      return
    }
    this.descriptor = descriptor
    this.ticket = result
  }

  closing(): void {
    if (this.closed) return
    this.closed = true
    this.context?.emitDestroy()
    if (this.ticket !== 0) watcher().unwatch(this.descriptor, this)
    this.ticket = 0
    this.slot?.remove(this)
    this.slot = undefined
    try {
      publishDeadPeer(this)
    } catch (error) {
      // A getter of the program threw: Node's close must continue.
      debug('descriptor %d: %s', this.handle.fd, error)
    }
  }

  /** Runs what waits for the connection to be established, if it is. */
  whenEstablished(): void {
    const { onEstablished, socket } = this
    if (onEstablished === undefined || socket === undefined || socket.connecting) return
    this.onEstablished = undefined
    this.connect = undefined
    onEstablished()
  }

  /**
   * Whether the connect has exceeded its user timeout, late timers included, so that the kernel
   * evidently does not bound it. After the first such look Node may still report the failure
   * itself, so only the second one counts.
   */
  isConnectOverdue(now: number): boolean {
    const { connect, socket } = this
    if (connect === undefined || socket?.connecting !== true) return false
    const timeout = connect.timeout()
    const wasOverdue = connect.overdue
    connect.overdue = timeout > 0 && now - connect.began > LATE * timeout
    return wasOverdue && connect.overdue
  }

  endConnect(): void {
    const { connect, handle } = this
    if (connect === undefined) return
    debug('descriptor %d: the connect has timed out, which the kernel did not enforce', handle.fd)
    this.context ??= newContext()
    this.context.runInAsyncScope(() => failConnect(handle, connect.request, errnoOf('ETIMEDOUT')))
  }

  secured(socket: Socket): void {
    this.socket = socket
  }

  reading(on: boolean): void {
    // Node starts reading a socket when it is established.
    if (on) this.whenEstablished()
    const { socket } = this
    this.stop = on ? BEING_READ : { at: native().now(), length: socket ? bufferedBytes(socket) : 0 }
  }

  ignoresKeepAlive(_: TcpHandle, enable: boolean, explicit: boolean): boolean {
    if (this.lockedBy === undefined) return false
    if (!enable) {
      this.keepAliveOff()
      return false
    }
    if (explicit && this.lockedBy === 'defaults') {
      debug("the program's own setKeepAlive on descriptor %d overrides defaults", this.handle.fd)
      this.lockedBy = undefined
      const keepalive = { idle: LEAVE, interval: LEAVE, count: LEAVE, keepalive: LEAVE }
      this.settings = { ...this.settings, ...keepalive }
      return false
    }
    debug('setKeepAlive(true, …) is ignored on descriptor %d', this.handle.fd)
    return true
  }

  keepAliveOff(): boolean {
    const wasLocked = this.lockedBy !== undefined
    if (wasLocked) debug('setKeepAlive(false) is obeyed on descriptor %d', this.handle.fd)
    this.lockedBy = undefined
    return wasLocked
  }

  /** The socket, while this connection still belongs to it: not while it is being sent to another process. */
  private present(): Socket | undefined {
    const { socket, handle, descriptor } = this
    return !this.closed &&
      socket !== undefined &&
      !socket.destroyed &&
      handleOf(socket) === handle &&
      (descriptor < 0 || handle.fd === descriptor)
      ? socket
      : undefined
  }

  ended(ticket: number): void {
    const socket = ticket === this.ticket ? this.present() : undefined
    // Node reports the result of a connect.
    if (socket === undefined || socket.connecting) return
    const outcome = this.outcome()
    if (outcome === 'other') return
    const now = native().now()
    const reader = new Reader(this.handle, socket, this.stop, now)
    this.settle(reader, now + NODE_FIRST_MS, outcome === 'timed out', 0)
  }

  /** Read TCP_INFO first: its timestamps age. */
  private outcome(): 'other' | 'reset by an answer' | 'timed out' {
    const { tcpInfo, get, fields, integers } = native()
    // kqueue has already reported the error and skips resets. Emulated Linux (qemu-user, gVisor)
    // has no TCP_INFO.
    if (!has('tcpInfo') || tcpInfo(this.descriptor) < 0)
      return process.platform === 'linux' ? 'other' : 'timed out'
    const ended: EndedConnection = {
      retransmits: fields[TCP_INFO.retransmits] as number,
      probes: fields[TCP_INFO.probes] as number,
      rtt: (fields[TCP_INFO.rttUs] as number) / 1000,
      rto: (fields[TCP_INFO.rtoUs] as number) / 1000,
      rttVariation: (fields[TCP_INFO.rttVariationUs] as number) / 1000,
      sinceDataSent: fields[TCP_INFO.sinceDataSent] as number,
      sinceSegment: Math.min(
        fields[TCP_INFO.sinceDataReceived] as number,
        fields[TCP_INFO.sinceAck] as number,
      ),
      sendWindow: fields[TCP_INFO.sendWindow] as number,
    }
    // The connection may be only half-closed. SO_ERROR could then hold an error that did not end it.
    if (fields[TCP_INFO.state] !== CLOSE) return 'other'
    if (ended.retransmits === 0 && ended.probes === 0) return 'other'
    const keepalive = (1 << IDLE) | (1 << INTERVAL) | (1 << COUNT)
    if (get(this.descriptor, (1 << USER_TIMEOUT) | keepalive) !== 0) return 'reset by an answer'
    const inForce = {
      idle: integers[IDLE] as number,
      interval: integers[INTERVAL] as number,
      count: integers[COUNT] as number,
      userTimeout: integers[USER_TIMEOUT] as number,
      // An older kernel does not know the option.
      rtoMax: get(this.descriptor, 1 << RTO_MAX) === 0 ? (integers[RTO_MAX] as number) : 120_000,
    }
    return hasTimedOut(ended, inForce, hostDefaults()) ? 'timed out' : 'reset by an answer'
  }

  /**
   * Node comes first: it delivers the data that is still unread, and reports the errors that it
   * finds itself. A reset sent in reply to a probe is reported only when all data has been read.
   *
   * @param taken The error already taken from SO_ERROR, 0 for none.
   */
  private settle(reader: Reader, notBefore: number, concluded: boolean, taken: number): void {
    const socket = this.present()
    if (socket === undefined) return
    const now = native().now()
    const isAtWork =
      reader.sinceRead(this.handle, socket, now) < this.pauseOf(reader) &&
      !reader.hasReadAll(this.handle, socket, this.stop)
    let error = taken
    if (now >= notBefore && !isAtWork && (concluded || this.isAllRead(socket, taken))) {
      if (error === 0) error = native().takeError(this.descriptor)
      // An orderly close by both ends.
      if (error === 0) return
      if (error > 0 && (!isReset(error) || this.isAllRead(socket, error))) {
        debug(
          'descriptor %d: the kernel ended the connection with error %d',
          this.descriptor,
          error,
        )
        this.end(-error)
        return
      }
      // SO_ERROR could not be read, or it was a reset after all.
      error = Math.max(0, error)
    }
    const again = (): void => this.settle(reader, notBefore, concluded && !isReset(error), error)
    watcher().after(now < notBefore + AT_WORK_MS ? LOOK_MS : 10 * LOOK_MS, again)
  }

  /** Whether Node has delivered everything, and no consumer may still be processing some of it. */
  private isAllRead(socket: Socket, error: number): boolean {
    if (socket.readableEnded) return true
    // The peer had sent a FIN before, which has not been read yet.
    if (error === constants.errno.EPIPE) return false
    const consumers = socket.listenerCount('data') + socket.listenerCount('readable')
    return consumers === 0 && socket.readableLength === 0 && native().unread(this.descriptor) === 0
  }

  /** While something waits for a peer that may be dead, tracks whether the program reads. */
  follow(waits: boolean, now: number): void {
    const socket = waits ? this.present() : undefined
    if (socket === undefined) this.reader = undefined
    else if (this.reader === undefined)
      this.reader = new Reader(this.handle, socket, this.stop, now)
    else this.reader.sinceRead(this.handle, socket, now)
  }

  /**
   * The sweep has found the peer dead. The program may still be reading what the peer sent, or
   * processing what it has just read: buffers above the socket can hold more than can be seen here.
   * From a peer that goes on sending, although nothing of ours arrives, it gets what had arrived when
   * the peer was first found dead, for as long as that takes, up to the dead-peer time once more.
   */
  conclude(now: number): void {
    const { handle, reader, settings } = this
    const socket = this.present()
    if (socket === undefined || reader === undefined) return
    const pause = this.pauseOf(reader)
    if (reader.sinceRead(handle, socket, now) < pause) {
      const sends = this.sinceData() < pause
      if (!sends || !reader.hasReadFirst(handle, socket, now, settings.silence)) return
    }
    this.end(-constants.errno.ETIMEDOUT)
  }

  /** Milliseconds since data came from the peer; Infinity if unknown. */
  private sinceData(): number {
    const { tcpInfo, fields } = native()
    return tcpInfo(openDescriptor(this.handle)) < 0
      ? Infinity
      : (fields[TCP_INFO.sinceDataReceived] as number)
  }

  /** Milliseconds without a read after which the program is taken not to read. */
  private pauseOf(reader: Reader): number {
    return reader.hasRead ? Math.max(AT_WORK_MS, this.settings.silence / 4) : AT_WORK_MS
  }

  /** As Node does when a read fails with the kernel's error. */
  private end(errno: number): void {
    this.context?.runInAsyncScope(() => {
      this.socket?.destroy(systemError(errno, 'read'))
    })
  }
}

/** The state of a connection that the kernel has ended (include/net/tcp_states.h). */
const CLOSE = 7

/** Under TLS, Node's getter uses a socket that may be destroyed by now, and then throws. */
function isStopped(handle: TcpHandle): boolean {
  try {
    return handle.reading === false
  } catch {
    return false
  }
}

function isReset(error: number): boolean {
  return error === constants.errno.ECONNRESET || error === constants.errno.EPIPE
}

/** In a runtime whose TCP handles share no prototype, each handle is hooked by itself. */
function hookForeign(handle: TcpHandle, connection: Connection): void {
  const { setKeepAlive } = handle
  define(handle, 'setKeepAlive', (enable: boolean, ...delays: number[]): unknown =>
    connection.ignoresKeepAlive(handle, enable, false)
      ? 0
      : setKeepAlive.call(handle, enable, ...delays),
  )
  connection.socket?.once('close', () => connection.closing())
}
