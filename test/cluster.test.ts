/**
 * A server in a cluster. Round robin: the primary accepts and hands connections over, a
 * worker's listener is a stand-in without a descriptor. Otherwise the workers share one
 * listener, and what one sets on it the others see.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { answerOf, type ChildOptions } from './support/child.ts'
import { ALL_SET, KEEPALIVE, USER_TIMEOUT } from './support/settings.ts'

type Policy = 'round robin' | 'none'

interface Seen {
  connection: object
  afterSetKeepAlive: object
}

const SET = JSON.stringify({ keepalive: KEEPALIVE, userTimeout: USER_TIMEOUT })
/** One key for all workers of a cluster, so one port. */
const ANY_PORT = JSON.stringify({ port: 0, host: '127.0.0.1' })
const HELD: Seen = { connection: ALL_SET, afterSetKeepAlive: ALL_SET }
const AFTER_NODE = { enabled: true, idle: 1, interval: 1, count: 10 }

/** Runs a primary of this policy; `body` ends in a call of `answer`. */
function primary<T>(policy: Policy, body: string, options: ChildOptions = {}): Promise<T> {
  return answerOf<T>(
    `const { worker, visit, answer } = require('./test/support/cluster-primary.cjs')
     void (async () => {${body}})()`,
    { ...options, env: { POLICY: policy, ...options.env } },
  )
}

describe.concurrent.each(['round robin', 'none'] as const)('scheduling policy: %s', (policy) => {
  test('the stand-in has no descriptor, the shared listener has one', async () => {
    const { fd } = await primary<{ fd: number | null }>(
      policy,
      `const one = await worker()
       answer(await one.tell('listen', ${ANY_PORT}))`,
    )
    if (policy === 'none') expect(fd).toBeGreaterThan(0)
    else expect(fd).toBe(null)
  })

  for (const serverOptions of ['{}', '{ "keepAlive": true, "keepAliveInitialDelay": 5000 }']) {
    test(`set before listen, createServer(${serverOptions}): there in the connection event, and held`, async () => {
      const seen = await primary<Seen>(
        policy,
        `const one = await worker()
         await one.tell('set', ${SET})
         const { port } = await one.tell('listen', ${ANY_PORT})
         await visit(port)
         answer(await one.next('connection'))`,
        { env: { SERVER_OPTIONS: serverOptions } },
      )
      expect(seen).toEqual(HELD)
    })
  }

  test('set while it listens', async () => {
    const seen = await primary<Seen>(
      policy,
      `const one = await worker()
       const { port } = await one.tell('listen', ${ANY_PORT})
       await one.tell('set', ${SET})
       await visit(port)
       answer(await one.next('connection'))`,
    )
    expect(seen).toEqual(HELD)
  })

  test('changes later are for new connections', async () => {
    const seen = await primary<Seen[]>(
      policy,
      `const one = await worker()
       await one.tell('set', ${SET})
       const { port } = await one.tell('listen', ${ANY_PORT})
       await visit(port)
       const before = await one.next('connection')
       await one.tell('set', { keepalive: { idle: 71 } })
       await visit(port)
       answer([before, await one.next('connection')])`,
    )
    const changed = { ...ALL_SET, idle: 71 }
    expect(seen).toEqual([HELD, { connection: changed, afterSetKeepAlive: changed }])
  })

  test('listens again after close', async () => {
    const seen = await primary<Seen>(
      policy,
      `const one = await worker()
       await one.tell('set', ${SET})
       await one.tell('listen', ${ANY_PORT})
       await one.tell('close')
       const { port } = await one.tell('listen', ${ANY_PORT})
       await visit(port)
       answer(await one.next('connection'))`,
    )
    expect(seen).toEqual(HELD)
  })

  test('a path is refused', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cluster-'))
    const { error } = await primary<{ error: object }>(
      policy,
      `const one = await worker()
       await one.tell('set', ${SET})
       const error = one.next('error')
       one.tell('listen', { path: ${JSON.stringify(join(folder, 'socket'))} }).then(() => answer({ error: 'it listens' }))
       answer(await error)`,
    )
    expect(error).toEqual({
      name: 'SocketOptionError',
      code: 'ENOTSUP',
      option: 'TCP_USER_TIMEOUT',
    })
    rmSync(folder, { recursive: true })
  })
})

test.concurrent('round robin: what one worker sets the others do not see', async () => {
  const seen = await primary<Seen[]>(
    'round robin',
    `const one = await worker()
     await one.tell('set', ${SET})
     const { port } = await one.tell('listen', ${ANY_PORT})
     const two = await worker()
     await two.tell('listen', ${ANY_PORT})
     // They take turns.
     await visit(port)
     await visit(port)
     answer([await one.next('connection'), await two.next('connection')])`,
  )
  expect(seen[0]).toEqual(HELD)
  expect(seen[1]).toMatchObject({
    connection: { enabled: false, userTimeout: 0 },
    afterSetKeepAlive: { ...AFTER_NODE, userTimeout: 0 },
  })
})

test.concurrent('none: what one worker sets the others see, but theirs is not held', async () => {
  const seen = await primary<Seen>(
    'none',
    `const one = await worker()
     const { port } = await one.tell('listen', ${ANY_PORT})
     const two = await worker()
     await two.tell('listen', ${ANY_PORT})
     await one.tell('set', ${SET})
     // Otherwise the kernel chooses who accepts.
     await one.tell('close')
     await visit(port)
     answer(await two.next('connection'))`,
  )
  expect(seen).toEqual({
    connection: ALL_SET,
    afterSetKeepAlive: { ...AFTER_NODE, userTimeout: USER_TIMEOUT },
  })
})

test.concurrent('round robin: a connection that comes with the answer to listen', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-'))
  const flag = JSON.stringify(join(folder, 'flag'))
  const seen = await primary<Seen>(
    'round robin',
    `const one = await worker()
     const { port } = await one.tell('listen', ${ANY_PORT})
     const two = await worker()
     await two.tell('set', ${SET})
     await one.tell('block', { until: ${flag} })
     // The first goes to the worker that does not answer, the second waits in the primary
     // and is handed over in the same breath as the listener.
     await visit(port)
     await visit(port)
     const seen = two.next('connection')
     await two.tell('listen', ${ANY_PORT})
     require('node:fs').writeFileSync(${flag}, '')
     answer(await seen)`,
  )
  expect(seen).toEqual(HELD)
  rmSync(folder, { recursive: true })
})

const STRACE = spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0

// Without strace there is nobody to count system calls.
describe
  .skipIf(!STRACE)
  .concurrent(`what a connection costs${STRACE ? '' : ' (skipped: strace is missing)'}`, () => {
    const COUNT = 20

    for (const [policy, perConnection] of [
      ['round robin', 1],
      ['none', 0],
    ] as const) {
      test(`${policy}: each option is set ${perConnection} times per connection`, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'cluster-'))
        const trace = join(folder, 'trace')
        await primary(
          policy,
          `const one = await worker()
         await one.tell('set', ${SET})
         const { port } = await one.tell('listen', ${ANY_PORT})
         for (let i = 0; i < ${COUNT}; i++) {
           await visit(port)
           await one.next('connection')
         }
         answer({})`,
          { wrapper: ['strace', '-f', '-e', 'trace=setsockopt', '-o', trace] },
        )
        const calls = readFileSync(trace, 'utf8')
        rmSync(folder, { recursive: true })
        const listeners = policy === 'none' ? 1 : 0
        for (const option of ['SO_KEEPALIVE', 'TCP_KEEPINTVL', 'TCP_USER_TIMEOUT']) {
          const count = calls.match(new RegExp(`, ${option}, `, 'g'))?.length ?? 0
          expect(count, option).toBe(perConnection * COUNT + listeners)
        }
      })
    }
  })
