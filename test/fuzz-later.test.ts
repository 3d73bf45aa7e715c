/** Whatever is set before there is a descriptor: as the setters do it, or as if nothing had been called. */
import { once } from 'node:events'
import { Agent } from 'node:http'
import { connect, createServer, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import {
  type DefaultsOptions,
  installDefaults,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
  type Target,
} from 'tcp-keepalive'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PATIENCE, runs, tried } from './support/fuzz.ts'
import { type Bystanders, bystanders, type State, stateOf } from './support/kernel-state.ts'
import { type Listening, listen } from './support/listen.ts'
import { LoopClock } from './support/stopwatch.ts'
import { argument, recipe, slowReader, value } from './support/whatever.ts'

let beside: Bystanders
let home: Listening
let port = 0

beforeAll(async () => {
  beside = await bystanders()
  home = await listen(createServer())
  port = home.port
})
afterAll(async () => {
  await beside[Symbol.asyncDispose]()
  await home[Symbol.asyncDispose]()
})

/** Without accessors, as it is made several times and must be the same each time. */
const plain = (fields: Parameters<typeof recipe>[0]) =>
  recipe(fields).map(({ base, properties }) => ({
    base,
    properties: properties.map((property) => ({ ...property, way: 'data' as const })),
  }))
const defaults = fc.record(
  {
    keepalive: fc.oneof(plain({ idle: value, interval: value, count: value }), fc.boolean(), value),
    userTimeout: value,
    deadPeerTimeout: fc.oneof(value, plain({ ms: value, slowReader })),
    scope: fc.oneof(fc.constantFrom('client', 'server', 'all', undefined), value),
    filter: fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: value },
    ),
  },
  { requiredKeys: [] },
)

/** What a socket that connects then has; what bounds the connect is taken back a little later. */
async function connectedState(
  open: () => Socket = () => connect(port, '127.0.0.1'),
  before: (socket: Socket) => void = () => {},
  wanted?: State,
): Promise<State> {
  const socket = open()
  before(socket)
  if (socket.pending && !socket.connecting) socket.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  let state = stateOf(socket)
  const clock = new LoopClock()
  while (wanted && state.userTimeout !== wanted.userTimeout && clock.since() < 5000) {
    await sleep(20)
    state = stateOf(socket)
  }
  clock.stop()
  socket.destroy()
  return state
}

/** As the setters have it on a socket of its own, in the order in which defaults add up. */
function setEach(
  target: Target,
  { keepalive, userTimeout, deadPeerTimeout }: DefaultsOptions,
): void {
  if (typeof deadPeerTimeout === 'number') setDeadPeerTimeout(target, deadPeerTimeout)
  else if (deadPeerTimeout) {
    const { ms, ...options } = deadPeerTimeout
    setDeadPeerTimeout(target, ms, options)
  }
  if (keepalive !== undefined) setKeepalive(target, keepalive)
  if (userTimeout !== undefined) setUserTimeout(target, userTimeout)
}

test(
  'installDefaults, a socket that is not connected, an agent: each as the setters, or as if nothing had been called',
  async () => {
    const bare = await connectedState()
    let installed = 0
    const makeOptions = (given: Record<string, unknown>) =>
      Object.fromEntries(
        Object.entries(given).map(([key, made]) => [key, argument(made)]),
      ) as DefaultsOptions
    await fc.assert(
      fc.asyncProperty(defaults, async (given) => {
        const done = tried(() => installDefaults(makeOptions(given)))
        const options = makeOptions({ ...given, scope: undefined, filter: undefined })
        try {
          if (done === undefined) {
            expect(await connectedState()).toEqual(bare)
            // Of three settings the good ones may have been set: only the first can tell.
            if (tried(() => setEach(new Socket(), options)) === undefined) return
          } else installed++
          const expected = await connectedState(undefined, (socket) => {
            socket.once('connect', () => setEach(socket, options))
          })
          const client = given.scope === undefined || given.scope !== 'server'
          if (done !== undefined && given.filter === undefined) {
            const wanted = client ? expected : bare
            expect(await connectedState(undefined, undefined, wanted)).toEqual(wanted)
          }
          done?.returned()
          const waiting = new Socket()
          expect(
            await connectedState(
              () => waiting,
              (socket) => setEach(socket, options),
              expected,
            ),
          ).toEqual(expected)
          const agent = new Agent()
          setEach(agent, options)
          const { createConnection } = agent as unknown as {
            createConnection(options: { port: number; host: string }): Socket
          }
          const pooled = () => createConnection.call(agent, { port, host: '127.0.0.1' })
          expect(await connectedState(pooled, undefined, expected)).toEqual(expected)
        } finally {
          done?.returned()
        }
        expect(await connectedState()).toEqual(bare)
        beside.expectUntouched()
      }),
      runs(0.05),
    )
    expect(installed).toBeGreaterThan(0)
  },
  PATIENCE,
)
