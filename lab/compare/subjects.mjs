// How each way sets a socket, written as its own documentation shows it.
import { createServer } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { requireAlternative } from '../alternatives/index.mjs'
import {
  IPPROTO_TCP,
  SO_KEEPALIVE,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_USER_TIMEOUT,
} from '../support/option-numbers.mjs'

/** What can set one integer option does the rest by itself. */
function byOption(set, get) {
  const read = (socket) => ({
    enabled: get(socket, SOL_SOCKET, SO_KEEPALIVE) !== 0,
    idle: get(socket, IPPROTO_TCP, TCP_KEEPIDLE),
    interval: get(socket, IPPROTO_TCP, TCP_KEEPINTVL),
    count: get(socket, IPPROTO_TCP, TCP_KEEPCNT),
    userTimeout: get(socket, IPPROTO_TCP, TCP_USER_TIMEOUT),
  })
  const subject = {
    keepalive(target, { idle, interval, count }) {
      set(target, IPPROTO_TCP, TCP_KEEPIDLE, idle)
      set(target, IPPROTO_TCP, TCP_KEEPINTVL, interval)
      set(target, IPPROTO_TCP, TCP_KEEPCNT, count)
      set(target, SOL_SOCKET, SO_KEEPALIVE, 1)
    },
    userTimeout: (target, ms) => set(target, IPPROTO_TCP, TCP_USER_TIMEOUT, ms),
    read,
    option: set,
  }
  return { ...subject, server: setListener(subject) }
}

/** One call on the listener, nothing per connection. */
const setListener = (subject) => (onConnection, settings) => {
  const server = createServer(onConnection)
  server.on('listening', () => {
    subject.keepalive(server, settings)
    subject.userTimeout(server, settings.userTimeout)
  })
  return server
}

/** A wrong value stays as wrong as it is. */
const inMs = (seconds) => (typeof seconds === 'number' ? seconds * 1000 : seconds)

function node() {
  return {
    keepalive: (socket, { idle, interval, count }) =>
      socket.setKeepAlive(true, inMs(idle), inMs(interval), count),
    server: (onConnection, { idle }) =>
      createServer({ keepAlive: true, keepAliveInitialDelay: idle * 1000 }, onConnection),
  }
}

function netKeepalive() {
  const peer = requireAlternative('net-keepalive')
  const subject = {
    keepalive(socket, { idle, interval, count }) {
      socket.setKeepAlive(true, inMs(idle))
      peer.setKeepAliveInterval(socket, inMs(interval))
      peer.setKeepAliveProbes(socket, count)
    },
    userTimeout: (socket, ms) => peer.setUserTimeout(socket, ms),
    read: (socket) => ({
      interval: peer.getKeepAliveInterval(socket) / 1000,
      count: peer.getKeepAliveProbes(socket),
      userTimeout: peer.getUserTimeout(socket),
    }),
  }
  return { ...subject, server: setListener(subject) }
}

function sockopt() {
  const { getsockopt, setsockopt } = requireAlternative('sockopt')
  return byOption(setsockopt, getsockopt)
}

function failed(syscall, errno) {
  const code = errno === undefined ? undefined : getSystemErrorName(-errno)
  return Object.assign(new Error(`${syscall} failed`), code && { code })
}

function koffi() {
  const library = requireAlternative('koffi').load(null)
  const errno = () => requireAlternative('koffi').errno()
  const set = library.func('int setsockopt(int, int, int, const int *, uint32_t)')
  const get = library.func('int getsockopt(int, int, int, _Out_ int *, _Inout_ uint32_t *)')
  return byOption(
    (target, level, option, value) => {
      if (set(target._handle.fd, level, option, [value], 4) !== 0) {
        throw failed('setsockopt', errno())
      }
    },
    (target, level, option) => {
      const value = [0]
      if (get(target._handle.fd, level, option, value, [4]) !== 0) {
        throw failed('getsockopt', errno())
      }
      return value[0]
    },
  )
}

/** Node 26 with --experimental-ffi; it has no way to errno. */
function nodeFfi() {
  const { dlopen, getRawPointer } = requireAlternative('node:ffi')
  const { functions } = dlopen(null, {
    setsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'u32'], return: 'i32' },
    getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
  })
  const cells = new Int32Array(2)
  const value = getRawPointer(cells.buffer)
  return byOption(
    (target, level, option, to) => {
      cells[0] = to
      if (functions.setsockopt(target._handle.fd, level, option, value, 4) !== 0) {
        throw failed('setsockopt')
      }
    },
    (target, level, option) => {
      cells[1] = 4
      if (functions.getsockopt(target._handle.fd, level, option, value, value + 4n) !== 0) {
        throw failed('getsockopt')
      }
      return cells[0]
    },
  )
}

async function ours() {
  const library = await import('../../dist/index.js')
  const { getKeepalive, getUserTimeout, setDeadPeerTimeout, setKeepalive, setUserTimeout } = library
  const subject = {
    keepalive: (target, { idle, interval, count }) =>
      setKeepalive(target, { idle, interval, count }),
    userTimeout: setUserTimeout,
    read: (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) }),
    deadPeer: setDeadPeerTimeout,
  }
  return { ...subject, server: setListener(subject) }
}

export const subjects = {
  node,
  'net-keepalive': netKeepalive,
  sockopt,
  koffi,
  'node:ffi': nodeFfi,
  'tcp-keepalive': ours,
}
