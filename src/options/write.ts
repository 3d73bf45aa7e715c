/** Writes settings to a descriptor, in one call into native code; a refusal becomes an error. */
import { getSystemErrorName } from 'node:util'
import { SocketOptionError, unavailable } from '../errors.js'
import { decodeRefusal, native } from '../native.js'
import { openDescriptor } from '../node/descriptor.js'
import type { TcpHandle } from '../node/internals.js'
import { LEAVE, type Settings } from './settings.js'
import {
  COUNT,
  IDLE,
  INTERVAL,
  KEEPALIVE,
  OPTION_NAMES,
  RTO_MAX,
  type SocketOptionName,
  USER_TIMEOUT,
} from './socket-options.js'

/** Writes the values to a handle's descriptor. */
export function write(handle: TcpHandle, values: Settings): void {
  writeTo(openDescriptor(handle), values)
}

export function writeTo(descriptor: number, values: Settings): void {
  const binding = native()
  const { integers } = binding
  integers[USER_TIMEOUT] = values.userTimeout
  integers[RTO_MAX] = values.rtoMax
  integers[IDLE] = values.idle
  integers[INTERVAL] = values.interval
  integers[COUNT] = values.count
  integers[KEEPALIVE] = values.keepalive
  const result = binding.set(descriptor)
  if (result !== 0) throw refusalError('setsockopt', result, integers)
}

/** The error for a refusal; the values written before it are its `changed`. */
export function refusalError(
  syscall: 'setsockopt' | 'getsockopt',
  result: number,
  values: ArrayLike<number> = [],
): Error {
  const { option, errno } = decodeRefusal(result)
  const name = OPTION_NAMES[option] as SocketOptionName
  const code = getSystemErrorName(errno)
  // The binding's result if the system has no such option at all.
  if (code === 'ENOSYS')
    return unavailable(`${name} does not exist on this system (${process.platform}).`)
  const changed = OPTION_NAMES.filter((_, index) => index < option && (values[index] ?? LEAVE) >= 0)
  return new SocketOptionError(syscall, errno, name, changed, hintOf(code, name))
}

function hintOf(code: string, name: SocketOptionName): string | undefined {
  if (code === 'EBADF') return 'the descriptor is not open'
  // getsockopt on macOS and FreeBSD; there setsockopt ignores it (native/sockopt_bsd.cc).
  if (code === 'ECONNRESET') return 'the connection has ended'
  if (code !== 'ENOPROTOOPT') return undefined
  if (process.platform === 'win32' && name === 'TCP_USER_TIMEOUT')
    return 'this system has neither TCP_MAXRTMS nor TCP_MAXRT (wine lacks both); setKeepalive works without them, and bounds an idle connection'
  if (process.platform !== 'linux') return 'this version of the system does not know the option'
  return name === 'TCP_RTO_MAX_MS'
    ? 'this kernel does not know the option, which came with Linux 6.15'
    : 'this kernel does not know the option for this kind of socket (an MPTCP socket has no user timeout)'
}

/** The first option that a write of these settings sets. */
export function firstOption(settings: Settings): SocketOptionName {
  const { userTimeout, rtoMax, idle, interval, count } = settings
  const index = [userTimeout, rtoMax, idle, interval, count].findIndex((value) => value >= 0)
  return index < 0 ? 'SO_KEEPALIVE' : (OPTION_NAMES[index] as SocketOptionName)
}
