/** Tables of refusals: what a process of refusals.cjs tells, against what is documented. */
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { planDeadPeerTimeout } from 'tcp-keepalive'
import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { answerOf, type ChildOptions } from './child.ts'
import { buildShim } from './shim.ts'

export const CODES = [
  'EBADF',
  'EINVAL',
  'ENOPROTOOPT',
  'ENOMEM',
  'EPERM',
  'ENOBUFS',
  'EINTR',
] as const
export type Code = (typeof CODES)[number]

export const KEEPALIVE = ['TCP_KEEPIDLE', 'TCP_KEEPINTVL', 'TCP_KEEPCNT', 'SO_KEEPALIVE']
// Linux before 6.15 has no TCP_RTO_MAX_MS.
export const RTO_MAX = planDeadPeerTimeout(20_000).rtoMax === null ? [] : ['TCP_RTO_MAX_MS']
const ALL = ['TCP_USER_TIMEOUT', ...RTO_MAX, ...KEEPALIVE]
/** TCP_RTO_MAX_MS would shorten the connect. */
export const CONNECTING = ['TCP_USER_TIMEOUT', ...KEEPALIVE]
/** Once connected: what bounded the connect is taken back. */
export const CONNECTED = ['TCP_USER_TIMEOUT']

/** What each setter writes, in its order. */
export const WRITES: Record<string, string[]> = {
  'setKeepalive, three fields': KEEPALIVE,
  'setKeepalive, one field': ['TCP_KEEPINTVL', 'SO_KEEPALIVE'],
  'setKeepalive(true)': ['SO_KEEPALIVE'],
  'setKeepalive(false)': ['SO_KEEPALIVE'],
  setUserTimeout: ['TCP_USER_TIMEOUT'],
  // TCP_RTO_MAX_MS is the sweep's to write.
  "setDeadPeerTimeout, 'keep'": CONNECTING,
  "setDeadPeerTimeout, 'end'": ALL,
  'setDeadPeerTimeout(0)': ALL,
}

/** For a target that has to wait. */
export const WAITING = [
  'setKeepalive, three fields',
  'setUserTimeout',
  "setDeadPeerTimeout, 'keep'",
]

export type State = Record<string, number | null>

interface Told {
  class: string
  name: string
  message: string
  code: Code
  errno: number
  syscall: string
  option: string
  changed: string[]
}

export interface Row {
  code: Code
  nth: number
  setter: string
  error: Told
  before: State
  after: State
  wanted: State
}

let shim: string | undefined

/** Builds the shim for a test file, all of whose tests need it. */
export function useShim(): void {
  const folder = mkdtempSync(join(tmpdir(), 'refusals-'))
  beforeAll(() => {
    shim = buildShim(folder)
  })
  beforeEach(({ skip }) => {
    if (shim === undefined) skip('not Linux, or no C compiler (cc) to build the shim with')
  })
  afterAll(() => rmSync(folder, { recursive: true }))
}

/** What the scenes answer in a process that the kernel refuses, and how many descriptors they have left open. */
export const refusing = <T>(scenes: string, options: ChildOptions = {}) =>
  answerOf<{ rows: T[]; leaked: number }>(
    `
    const { once } = require('node:events')
    const net = require('node:net')
    const { setTimeout: sleep } = require('node:timers/promises')
    const library = require('tcp-keepalive')
    const { setKeepalive, setUserTimeout, setDeadPeerTimeout, getTcpInfo } = library
    const { unplug } = require('tcp-keepalive/testing')
    const tools = require('./test/support/refusals.cjs')
    const { CODES, SETTERS, closeOf, connected, descriptors, die, listen, obey, refuse, refuseEach, reset, state, tell, thrownBy } = tools
    tools.main(({ server, client, accepted }) => (async () => {${scenes}})())
    `,
    { ...options, env: { ...options.env, LD_PRELOAD: shim } },
  )

export const errnoOf = (code: Code) => -constants.errno[code]

/** The documented error of the nth write, after which the earlier ones are in the kernel and no other. */
function expectRefusal({ code, nth, error, before, after, wanted }: Row, writes: string[]): void {
  const option = writes[nth - 1] as string
  const changed = writes.slice(0, nth - 1)
  expect(error).toEqual({
    class: 'SocketOptionError',
    name: 'SocketOptionError',
    message: expect.stringContaining(`setsockopt ${option} ${code}`),
    code,
    errno: errnoOf(code),
    syscall: 'setsockopt',
    option,
    changed,
  })
  expect(after).toEqual({
    ...before,
    ...Object.fromEntries(changed.map((name) => [name, wanted[name]])),
  })
}

/** Each write with each error, no more and no less. */
export function expectTable(rows: Row[], setter: string, writes: string[]): void {
  const these = rows.filter((row) => row.setter === setter)
  expect(these.map(({ code, nth }) => [code, nth])).toEqual(
    CODES.flatMap((code) => writes.map((_, index) => [code, index + 1])),
  )
  for (const row of these) expectRefusal(row, writes)
}
