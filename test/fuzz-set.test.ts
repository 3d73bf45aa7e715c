/** Whatever is set: exactly that is in the kernel then, or a documented error is thrown and nothing has changed. */
import { once } from 'node:events'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { Socket } from 'node:net'
import fc from 'fast-check'
import {
  type DeadPeerOptions,
  type DeadPeerPlan,
  getKeepalive,
  getUserTimeout,
  type KeepaliveOptions,
  setDeadPeerTimeout,
  setKeepalive,
  setUserTimeout,
  type Target,
} from 'tcp-keepalive'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CASES, PATIENCE, runs, tried } from './support/fuzz.ts'
import {
  type Bystanders,
  bystanders,
  fdOf,
  host,
  PYTHON,
  type State,
  secondOpinion,
  stateOf,
} from './support/kernel-state.ts'
import { listen } from './support/listen.ts'
import { connectedPair } from './support/pair.ts'
import {
  answer,
  argument,
  deadPeerOptions,
  isRecipe,
  keepaliveOptions,
  value,
} from './support/whatever.ts'

const open: AsyncDisposable[] = []
async function opened<T extends AsyncDisposable>(opening: Promise<T>): Promise<T> {
  const it = await opening
  open.push(it)
  return it
}
/** Whatever is set, by its kind, and where it is read. */
const subjects: [kind: string, target: Target, read: object][] = []
let beside: Bystanders

beforeAll(async () => {
  beside = await opened(bystanders())
  for (const family of [4, 6, 'mapped'] as const) {
    const { client, accepted, server } = await opened(connectedPair({ family }))
    subjects.push([`client ${family}`, client, client], [`accepted ${family}`, accepted, accepted])
    subjects.push([`listener ${family}`, server, server])
    subjects.push([`proxy ${family}`, new Proxy(client, {}), client])
  }
  const tls = await opened(connectedPair({ tls: true }))
  subjects.push(['TLS', tls.client, tls.client], ['accepted TLS', tls.accepted, tls.accepted])
  const http2 = await opened(listen(createHttp2Server()))
  const session = connectHttp2(`http://127.0.0.1:${http2.port}`)
  await once(session, 'connect')
  subjects.push(['http2 session', session, session.socket])
})
afterAll(async () => {
  for (const it of open) await it[Symbol.asyncDispose]()
})

const MAX = { idle: 32_767, interval: 999, count: 127 }

function afterKeepalive(before: State, options: unknown): State {
  const after: State = { ...before, keepalive: options === false ? 0 : 1 }
  for (const field of ['idle', 'interval', 'count'] as const) {
    const given = isRecipe(options) ? answer(options, field) : undefined
    if (given === undefined) continue
    // Nothing that the kernel would have cut or refused has got through.
    expect(Number.isInteger(given) && Number(given) >= 1 && Number(given) <= MAX[field]).toBe(true)
    after[field] = given as number
  }
  return after
}

function afterDeadPeer(before: State, plan: DeadPeerPlan): State {
  const { idle, interval, count, userTimeout, rtoMax, silence, ms } = plan
  const after: State = {
    ...before,
    idle,
    interval,
    count,
    userTimeout,
    keepalive: ms === 0 ? 0 : 1,
  }
  // While a sweep looks after the connection the bound is the host's until a window closes.
  if (host.rtoMax !== undefined) after.rtoMax = silence > 0 ? host.rtoMax : (rtoMax as number)
  return after
}

const call = fc.oneof(
  fc.record({ name: fc.constant('setKeepalive' as const), options: keepaliveOptions }),
  fc.record({ name: fc.constant('setUserTimeout' as const), ms: value }),
  fc.record({
    name: fc.constant('setDeadPeerTimeout' as const),
    ms: value,
    options: deadPeerOptions,
  }),
)

test(
  'setters on everything that can be set: what is passed is in the kernel, or nothing has changed',
  () => {
    let accepted = 0
    let cases = 0
    fc.assert(
      fc.property(fc.nat({ max: subjects.length - 1 }), call, (index, given) => {
        const [, target, read] = subjects[index] as (typeof subjects)[number]
        const others = subjects
          .map(([, , other]) => other)
          .filter((other) => fdOf(other) !== fdOf(read))
        const neighbour = others[cases % others.length] as object
        const [before, beforeThere] = [stateOf(read), stateOf(neighbour)]
        let after = before
        if (given.name === 'setKeepalive') {
          const options = argument(given.options) as KeepaliveOptions
          if (tried(() => setKeepalive(target, options)))
            after = afterKeepalive(before, given.options)
        } else if (given.name === 'setUserTimeout') {
          const ms = given.ms as number
          if (tried(() => setUserTimeout(target, ms))) after = { ...before, userTimeout: ms + 0 }
        } else {
          const options = argument(given.options) as DeadPeerOptions
          const done = tried(() => setDeadPeerTimeout(target, given.ms as number, options))
          if (done) after = afterDeadPeer(before, done.returned)
          if (done) expect(done.returned.ms).toBe((given.ms as number) + 0)
        }
        if (after !== before) accepted++
        const state = stateOf(read)
        expect(state).toEqual(after)
        expect(stateOf(neighbour)).toEqual(beforeThere)
        beside.expectUntouched()
        if (read instanceof Socket) {
          const { enabled, ...rest } = getKeepalive(read)
          expect({ keepalive: Number(enabled), ...rest }).toMatchObject(
            (({ idle, interval, count, keepalive }) => ({ idle, interval, count, keepalive }))(
              state,
            ),
          )
          expect(getUserTimeout(read)).toBe(state.userTimeout)
        }
        if (PYTHON && cases++ % 500 === 0) expect(secondOpinion(read)).toEqual(state)
      }),
      runs(0.51),
    )
    // Neither everything nor nothing gets through.
    expect(accepted).toBeGreaterThan(CASES / 20)
    expect(accepted).toBeLessThan(CASES / 2)
  },
  PATIENCE,
)
