/**
 * A program behaves with register as without, but for its dead peers. A program that
 * writes down all that it sees (support/ordinary-program.cjs) runs both ways. Node's own
 * tests are compared likewise, by lab/node-tests.mjs.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run, runNode } from './support/child.ts'

const register = join(__dirname, '..', 'dist', 'register.js')
const program = join(__dirname, 'support', 'ordinary-program.cjs')

type Seen = Record<string, unknown>

async function seenBy(flags: string[], env: NodeJS.ProcessEnv = {}): Promise<Seen> {
  const folder = mkdtempSync(join(tmpdir(), 'nothing-else-'))
  const all = { ...env, FOLDER: folder }
  const ended = await run([process.execPath, ...flags, program], { env: all })
  rmSync(folder, { recursive: true })
  expect(ended).toMatchObject({ code: 0, signal: null, stderr: '' })
  const { prototypes, ...rest } = JSON.parse(ended.stdout) as Seen
  // Where several copies of the package find each other, not enumerable; and the hook on the
  // method of Node's streams that each socket calls when it gets a handle.
  const keys = (prototypes as [string, string][][]).map((keys) =>
    keys.filter(([key]) => !/^Symbol\(tcp-keepalive\.|^_undestroy$/.test(key)),
  )
  return { ...rest, prototypes: keys }
}

describe.concurrent('a program sees the same', () => {
  test('events, their order and listeners, stacks, errors, handles, globals, exit: connecting', async () => {
    const [without, with_] = await Promise.all([seenBy([]), seenBy(['--require', register])])
    // That there is something to compare.
    expect(Object.keys(without).length).toBeGreaterThan(50)
    expect(without['plain: order']).toContain('answer')
    for (const [name, value] of Object.entries(without))
      expect([name, with_[name]]).toEqual([name, value])
    expect(Object.keys(with_)).toEqual(Object.keys(without))
  })

  test('and accepting, but for two frames in the stack of a connection event', async () => {
    const env = { TCP_KEEPALIVE_SCOPE: 'all' }
    const [without, with_] = await Promise.all([
      seenBy([], env),
      seenBy(['--require', register], env),
    ])
    for (const [name, value] of Object.entries(without)) {
      let now = with_[name]
      if (name.endsWith("'connection'")) {
        now = String(now)
          .replace(/\n {4}at TCP\.onconnection \((?!node:)[^)]*\)/, '')
          .replace(/\n {4}at (TLS)?Server\.emit \((?!node:)[^)]*\)/, '')
      }
      expect([name, now]).toEqual([name, value])
    }
  })
})

describe.concurrent('how a program ends', () => {
  const both = async (source: string) => {
    const answers = await Promise.all([
      runNode(source),
      runNode(source, { flags: ['--require', register] }),
    ])
    return answers.map(({ code, signal, stdout, stderr }) => {
      return { code, signal, stdout, stderr: stderr.replaceAll(/\d{4,}/g, 'N') }
    })
  }

  const CONNECTED = `
    const { connect, createServer } = require('node:net')
    const server = createServer((socket) => socket.on('error', () => {}).unref()).listen(0, '127.0.0.1', () => {
      const socket = connect(server.address().port, '127.0.0.1', () => {
        END
      })
    })
  `
  test.each([
    ['an exception in a handler', "throw new Error('as planned')"],
    ['a rejection', "Promise.reject(new Error('as planned'))"],
    ['process.exit', 'process.exit(3)'],
    ['an error event without a listener', "socket.destroy(new Error('as planned'))"],
    ['a signal', "process.kill(process.pid, 'SIGTERM')"],
    ['nothing left to do', 'socket.destroy(); server.close()'],
    ['unref', 'socket.unref(); server.unref()'],
    [
      'beforeExit',
      "process.on('beforeExit', () => console.log('beforeExit')); socket.destroy(); server.close()",
    ],
  ])('%s', async (_, end) => {
    const [without, with_] = await both(CONNECTED.replace('END', end))
    expect(with_).toEqual(without)
  })

  test('a program without sockets: after one turn of the loop the same handles, and it ends', async () => {
    const [without, with_] = await both(
      'setImmediate(() => setImmediate(() => console.log(process.getActiveResourcesInfo())))',
    )
    expect(with_).toEqual(without)
  })
})

test.concurrent('memory: thousands of connections leave nothing behind', async () => {
  const source = `
    const { connect, createServer } = require('node:net')
    const { once } = require('node:events')
    const fill = async (server, rounds) => {
      for (let i = 0; i < rounds; i++) {
        await Promise.all(Array.from({ length: 50 }, async () => {
          const socket = connect(server.address().port, '127.0.0.1')
          await once(socket, 'connect')
          socket.destroy()
          await once(socket, 'close')
        }))
      }
      // Longer than the sweep remembers what has closed.
      await new Promise((resolve) => setTimeout(resolve, 700))
      gc()
      gc()
      return process.memoryUsage().heapUsed
    }
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1', async () => {
      // Code is compiled and caches are filled by then.
      const before = await fill(server, 100)
      console.log(await fill(server, 40) - before)
      process.exit()
    })
  `
  const { stdout } = await runNode(source, { flags: ['--expose-gc', '--require', register] })
  // 2000 connections: the smallest record of each would be more than this.
  expect(Number(stdout)).toBeLessThan(120_000)
})
