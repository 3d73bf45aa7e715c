/** Why no binary could be loaded, and what to do. Used only when loading fails. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Failure {
  readonly code?: string
  readonly message?: string
  /** Set by Node's permission model. */
  readonly permission?: string
  readonly resource?: string
}

export function loadAdvice(cause: unknown): string {
  const reason = cause instanceof Error ? (cause.message.split('\n')[0] as string) : String(cause)
  const host = `${process.platform}-${process.arch}, ${process.release?.name ?? 'node'} ${process.version}`
  return `tcp-keepalive has no binary that loads here (${host}): ${reason.replace(/\.+$/, '')}. ${remedy(Object(cause))}`
}

const PACK =
  'clone the project, run npm ci && npm run pack:local, and install the resulting tarball.'

/** What to do about this cause. */
function remedy(cause: Failure): string {
  if (cause.code === 'ERR_DLOPEN_DISABLED') {
    return 'With --permission, add --allow-addons; without it, remove --no-addons.'
  }
  // node-gyp-build treats a folder that it must not read as empty.
  const denied = [cause, failureOf(binaries)].find(({ code }) => code === 'ERR_ACCESS_DENIED')
  if (denied !== undefined) return permissionAdvice(denied)
  if (isBundled()) return bundleAdvice(cause)
  if (cause.code === 'ERR_DLOPEN_FAILED') return dlopenAdvice(cause)
  if (cause.code === 'MODULE_NOT_FOUND') {
    return 'A dependency of the package is missing: install it again.'
  }
  return failureOf(binaries).code === undefined
    ? `The package has no binary for this platform: ${PACK}`
    : `This copy was installed without its binaries (npm install github:… has none): install it from the registry, or ${PACK}`
}

function binaries(): string[] {
  return readdirSync(join(__dirname, '..', 'prebuilds'))
}

function dlopenAdvice({ message = '' }: Failure): string {
  if (process.platform !== 'linux') return 'The file exists, but this system cannot load it.'
  return message.includes('failed to map segment')
    ? 'Its file system is mounted noexec: install the package on another one.'
    : 'The file exists, but this system cannot load it. On a musl system without /etc/alpine-release, set LIBC=musl in the environment.'
}

function permissionAdvice({ permission, resource }: Failure): string {
  if (resource === '/etc/alpine-release') {
    return 'With --permission, add --allow-fs-read=/etc/alpine-release, or set LIBC=glibc (on Alpine: LIBC=musl) in the environment.'
  }
  const flag = permission === 'FileSystemRead' ? `--allow-fs-read=${resource}` : permission
  return `With --permission, add ${flag}.`
}

/** Whether this file is no longer in its package. */
function isBundled(): boolean {
  try {
    const text = readFileSync(join(__dirname, '..', 'package.json'), 'utf8')
    return (JSON.parse(text) as { name?: string }).name !== 'tcp-keepalive'
  } catch {
    // `__dirname` is not defined, or the file does not exist.
    return true
  }
}

function bundleAdvice({ code }: Failure): string {
  const advice =
    'This copy is part of a bundle, which cannot contain a binary: make tcp-keepalive external in the bundler, and install it beside the bundle (docs/platforms.md, "Bundlers").'
  return code === 'ERR_UNKNOWN_BUILTIN_MODULE'
    ? `${advice} A single executable loads it with createRequire(process.execPath) of node:module.`
    : advice
}

/** What a call throws, or an empty object. */
function failureOf(call: () => unknown): Failure {
  try {
    call()
    return {}
  } catch (error) {
    return Object(error) as Failure
  }
}
