/** What the kernel has for a socket or a listener, not by way of what is tested. */
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type SystemDefaults, setKeepalive, setUserTimeout, systemDefaults } from 'tcp-keepalive'
import { expect } from 'vitest'
import { connectedPair } from './pair.ts'

interface Binding {
  readonly integers: ArrayBuffer
  get(descriptor: number, options: number): number
}
const root = join(__dirname, '..', '..')
const binding = createRequire(__filename)('node-gyp-build')(root) as Binding

const FIELDS = ['userTimeout', 'rtoMax', 'idle', 'interval', 'count', 'keepalive'] as const
export type State = Partial<Record<(typeof FIELDS)[number], number>>

export const host: SystemDefaults = systemDefaults()
/** Linux before 6.15 has no TCP_RTO_MAX_MS. */
const ASKED = FIELDS.filter((field) => field !== 'rtoMax' || host.rtoMax !== undefined)

export const fdOf = (target: object): number =>
  (target as { _handle?: { fd: number; _parent?: { fd: number } } })._handle?.fd ?? -1

/** Of a socket or a listener, not by way of what is tested. */
export function stateOf(target: object): State {
  const options = ASKED.reduce((bits, field) => bits | (1 << FIELDS.indexOf(field)), 0)
  expect(binding.get(fdOf(target), options)).toBe(0)
  const integers = new Int32Array(binding.integers)
  return Object.fromEntries(ASKED.map((field) => [field, integers[FIELDS.indexOf(field)]]))
}

/** By a process that has nothing of this library. */
export function secondOpinion(target: object): State {
  const { status, stdout } = spawnSync(
    'python3',
    [
      '-c',
      `import json, socket
s = socket.socket(fileno=3)
t = socket.IPPROTO_TCP
names = dict(userTimeout=(t, 18), rtoMax=(t, 44), idle=(t, 4), interval=(t, 5), count=(t, 6), keepalive=(1, 9))
print(json.dumps({k: s.getsockopt(*names[k]) for k in ${JSON.stringify(ASKED)}}))`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit', fdOf(target)], encoding: 'utf8' },
  )
  expect(status).toBe(0)
  return JSON.parse(stdout)
}
export const PYTHON: boolean =
  process.platform === 'linux' && spawnSync('python3', ['--version']).status === 0

export interface Bystanders extends AsyncDisposable {
  sockets: object[]
  expectUntouched(): void
}

/** Both ends of a connection and its listener, which nobody sets any more. */
export async function bystanders(): Promise<Bystanders> {
  const pair = await connectedPair()
  const sockets = [pair.client, pair.accepted, pair.server]
  setKeepalive(pair.client, { idle: 61, interval: 11, count: 4 })
  setUserTimeout(pair.client, 91_000)
  const untouched = sockets.map(stateOf)
  return {
    sockets,
    expectUntouched: () => expect(sockets.map(stateOf)).toEqual(untouched),
    [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose](),
  }
}
