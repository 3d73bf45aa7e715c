// A network namespace: an own loopback, own devices, own settings of the kernel.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

/** To be put before a command. */
export const UNSHARE = [
  'unshare',
  ...(process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net']),
]

const INSIDE = 'LAB_INSIDE_NAMESPACE'

/** Runs this program again inside a namespace; true where it is inside already. */
export function insideNamespace() {
  if (process.env[INSIDE]) return true
  const [command, ...flags] = UNSHARE
  const { status } = spawnSync(
    command,
    [...flags, process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } },
  )
  process.exitCode = status ?? 1
  return false
}

/** So that a window closes within milliseconds and not after megabytes. */
export function smallBuffers() {
  writeFileSync('/proc/sys/net/ipv4/tcp_rmem', '4096 65536 65536')
  writeFileSync('/proc/sys/net/ipv4/tcp_wmem', '4096 65536 131072')
}

/** Bytes, more than the small buffers of both ends hold. */
export const TOO_MUCH = 400_000
