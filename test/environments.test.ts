/** Environments of one process, none of which share anything: the main thread, its workers, copies, however they are loaded. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { answerOf, run, runNode } from './support/child.ts'

const root = join(__dirname, '..')

/**
 * What a thread does: it connects, sets, reads back, and ends with what the kernel
 * then has and with how a dead peer's error came.
 */
const WORK = `
const { once } = require('node:events')
const { connect, createServer } = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const { setKeepalive, setUserTimeout, getKeepalive, getUserTimeout } = require('tcp-keepalive')
const { unplug } = require('tcp-keepalive/testing')
const connected = async () => {
  const server = createServer((socket) => socket.on('error', () => {}).unref()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect(server.address().port, '127.0.0.1')
  await once(socket, 'connect')
  return { server, socket }
}
const work = async (idle) => {
  const { server, socket } = await connected()
  for (let i = 0; i < 500; i++) {
    setKeepalive(socket, { idle: idle + (i % 7), interval: 10, count: 3 })
    setUserTimeout(socket, 1000 * idle + i)
    const read = getKeepalive(socket).idle
    if (read !== idle + (i % 7)) throw new Error('read ' + read + ' in place of ' + (idle + (i % 7)))
    if (getUserTimeout(socket) !== 1000 * idle + i) throw new Error('another user timeout')
    if (i % 50 === 0) await new Promise(setImmediate)
  }
  const settings = getKeepalive(socket)
  socket.resume()
  setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
  setUserTimeout(socket, 0)
  unplug(socket)
  const [error] = await once(socket, 'error')
  server.close()
  return { settings, error: error.message }
}
`

const THREADS = `
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
`

interface Done {
  settings: { enabled: boolean; idle: number; interval: number; count: number }
  error: string
}
const done = (idle: number): Done => ({
  // The 500th round.
  settings: { enabled: true, idle: idle + (499 % 7), interval: 10, count: 3 },
  error: 'read ETIMEDOUT',
})

describe.concurrent('side by side', () => {
  test('the main thread and workers at once, each with its own values', async () => {
    const answers = await answerOf<Done[]>(`
      ${THREADS}${WORK}
      const inWorker = (idle) => new Promise((resolve, reject) => {
        const source = ${JSON.stringify(
          `${THREADS}${WORK}work(workerData).then((done) => parentPort.postMessage(done))`,
        )}
        new Worker(source, { eval: true, workerData: idle }).on('message', resolve).on('error', reject)
      })
      Promise.all([work(100), inWorker(200), inWorker(300), inWorker(400)]).then((answers) =>
        console.log(JSON.stringify(answers)),
      )
    `)
    expect(answers).toEqual([done(100), done(200), done(300), done(400)])
  })

  test('the add-on in workers only', async () => {
    const answers = await answerOf<Done[]>(`
      ${THREADS}
      const inWorker = (idle) => new Promise((resolve, reject) => {
        const source = ${JSON.stringify(
          `${THREADS}${WORK}work(workerData).then((done) => parentPort.postMessage(done))`,
        )}
        new Worker(source, { eval: true, workerData: idle }).on('message', resolve).on('error', reject)
      })
      Promise.all([inWorker(200), inWorker(300)]).then((answers) => {
        if (Object.keys(require.cache).some((file) => file.endsWith('.node'))) throw new Error('loaded here')
        console.log(JSON.stringify(answers))
      })
    `)
    expect(answers).toEqual([done(200), done(300)])
  })
})

describe.concurrent('a worker comes to its end and the process lives', () => {
  /** Rounds of workers with a watched socket each; how a worker ends is the test's. */
  const rounds = (ends: string, main = '') => `
    ${THREADS}
    ${main}
    const source = ${JSON.stringify(`${THREADS}${WORK}
      connected().then(({ socket }) => {
        socket.on('error', () => {})
        setKeepalive(socket, { idle: 60 })
        unplug(socket)
        parentPort.postMessage('set')
        ENDS
      })
    `)}.replace('ENDS', ${JSON.stringify(ends)})
    const round = async () => {
      const worker = new Worker(source, { eval: true })
      const ended = new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject))
      await new Promise((resolve) => worker.once('message', resolve))
      ${ends === '' ? 'worker.terminate()' : ''}
      return ended
    }
    const codes = []
    const all = async () => {
      for (let i = 0; i < 3; i++) codes.push(...(await Promise.all([round(), round(), round(), round()])))
      console.log(JSON.stringify(codes))
    }
    all()
  `
  const twelve = (code: number) => `${JSON.stringify(Array(12).fill(code))}\n`
  // The main thread has a socket of its own all the while, or has never loaded the add-on.
  const loaded = `${WORK}
    connected().then(({ socket, server }) => {
      setKeepalive(socket, true)
      socket.unref()
      server.unref()
    })
  `
  const mains = { 'workers only': '', 'the main thread too': loaded }

  for (const [where, main] of Object.entries(mains)) {
    test(`${where}: ended by process.exit`, async () => {
      const ended = await runNode(rounds('process.exit(7)', main))
      expect(ended).toEqual({ code: 0, signal: null, stdout: twelve(7), stderr: '' })
    })

    test(`${where}: ended by itself, when its sockets are closed`, async () => {
      const closing =
        'setTimeout(() => { socket.destroy(); process._getActiveHandles().forEach((handle) => handle.close?.()) }, 20)'
      const ended = await runNode(rounds(closing, main))
      expect(ended).toEqual({ code: 0, signal: null, stdout: twelve(0), stderr: '' })
    })

    test(`${where}: ended by an error`, async () => {
      const source = rounds("throw new Error('as planned')", main).replace(
        ".on('error', reject)",
        ".on('error', () => {})",
      )
      const ended = await runNode(source)
      expect(ended).toEqual({ code: 0, signal: null, stdout: twelve(1), stderr: '' })
    })

    test(`${where}: terminated`, async () => {
      const ended = await runNode(rounds('', main))
      expect(ended).toEqual({ code: 0, signal: null, stdout: twelve(1), stderr: '' })
    })
  }
})

test.concurrent('a hundred workers set, watch and lose peers, and are terminated at random moments', async () => {
  const file = join(__dirname, '../lab/dying-workers/run.mjs')
  const { code, signal, stdout, stderr } = await run([process.execPath, file, '100'])
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  const { workers, set, told, leaked } = JSON.parse(stdout) as Record<string, number>
  expect(workers).toBeGreaterThanOrEqual(100)
  // Some were terminated before they ran, most in the midst of what they are for.
  expect(set).toBeGreaterThan(200)
  expect(told).toBeGreaterThan(100)
  expect(leaked).toBe(0)
})

test.concurrent('workers are terminated while they load the binding: the process goes on', async () => {
  const file = join(__dirname, 'support', 'terminated-loading.cjs')
  const { code, signal, stdout, stderr } = await run([process.execPath, file, '60'])
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  // Else none was in the midst of it.
  expect((JSON.parse(stdout) as { loaded: number }).loaded).toBeLessThan(60)
})

describe.concurrent('however it is loaded', () => {
  test('by import and by require, in the main thread and in a worker: one library per thread', async () => {
    const same = `
      const required = require('tcp-keepalive')
      const imported = import('tcp-keepalive').then((module) =>
        module.setKeepalive === required.setKeepalive && module.default.setKeepalive === required.setKeepalive)
    `
    const answer = await answerOf<boolean[]>(`
      ${THREADS}${same}
      const worker = new Worker(${JSON.stringify(
        `${THREADS}${same}imported.then((same) => parentPort.postMessage(same))`,
      )}, { eval: true })
      Promise.all([imported, new Promise((resolve) => worker.on('message', resolve))]).then((answers) =>
        console.log(JSON.stringify(answers)))
    `)
    expect(answer).toEqual([true, true])
  })

  test('from code of another vm context, also where that one loads it itself', async () => {
    const answer = await answerOf<object>(`
      const vm = require('node:vm')
      ${WORK}
      connected().then(({ server, socket }) => {
        const context = vm.createContext({ setKeepalive, getKeepalive, socket, require })
        const foreign = vm.runInContext('setKeepalive(socket, { idle: 61 }); getKeepalive(socket).idle', context)
        const loaded = vm.runInContext(
          "const own = require('tcp-keepalive'); own.setKeepalive(socket, { idle: 62 }); own.getKeepalive(socket).idle", context)
        const refused = vm.runInContext('try { setKeepalive(socket, { idle: 0 }) } catch (error) { error.code }', context)
        console.log(JSON.stringify({ foreign, loaded, refused }))
        process.exit()
      })
    `)
    expect(answer).toEqual({ foreign: 61, loaded: 62, refused: 'ERR_OUT_OF_RANGE' })
  })

  test('from two copies with a binary each, one imported and one required, on the same socket: one error', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'copies-'))
    const copy = join(folder, 'node_modules', 'tcp-keepalive')
    for (const part of ['dist', 'package.json', 'build/Release', 'node_modules/node-gyp-build']) {
      cpSync(join(root, part), join(copy, part), { recursive: true })
    }
    const both = (done: string) => `
      ${WORK}
      ;(async () => {
        const other = await import(${JSON.stringify(join(copy, 'dist', 'index.js'))})
        if (other.setKeepalive === setKeepalive) throw new Error('the same copy')
        const { server, socket } = await connected()
        const errors = []
        socket.on('error', ({ message }) => errors.push(message))
        // Either copy alone may have bounded a connect, and it is taken back a little later.
        const library = require('tcp-keepalive')
        for (const copies of [[library], [other], [library, other], [other, library]]) {
          const third = connect(server.address().port, '127.0.0.1')
          for (const { setDeadPeerTimeout } of copies) setDeadPeerTimeout(third, 60_000)
          await once(third, 'connect')
          while (getUserTimeout(third) !== 0) await sleep(20)
          third.destroy()
        }
        // They share what is known of a connection: what one takes back is taken back.
        const holds = []
        for (const [one, another] of [[library, other], [other, library]]) {
          const { socket: fourth, server: listener } = await connected()
          another.setKeepalive(fourth, { idle: 61 })
          one.setDeadPeerTimeout(fourth, 60_000)
          one.setDeadPeerTimeout(fourth, 0)
          fourth.setKeepAlive(true, 4000)
          holds.push(getKeepalive(fourth).enabled)
          fourth.destroy()
          listener.close()
        }
        setKeepalive(socket, { idle: 61 })
        other.setKeepalive(socket, { interval: 11 })
        socket.setKeepAlive(true, 5000)
        const { idle, interval } = getKeepalive(socket)
        setKeepalive(socket, { idle: 1, interval: 1, count: 1 })
        unplug(socket)
        await new Promise((resolve) => socket.resume().once('close', resolve))
        await new Promise((resolve) => setTimeout(resolve, 200))
        server.close()
        ;(${done})({ idle, interval, errors, holds })
      })()
    `
    const answer = await answerOf<object[]>(`
      ${THREADS}
      const answers = []
      const tell = (answer) => {
        answers.push(answer)
        if (answers.length === 2) console.log(JSON.stringify(answers))
      }
      new Worker(${JSON.stringify(
        `${THREADS}${both('(answer) => parentPort.postMessage(answer)')}`,
      )}, { eval: true }).on('message', tell)
      ${both('tell')}
    `)
    rmSync(folder, { recursive: true })
    const each = {
      idle: 61,
      interval: 11,
      errors: ['read ETIMEDOUT'],
      holds: [true, true],
    }
    expect(answer).toEqual([each, each])
  })

  test('and never used: the program ends, and says nothing', async () => {
    const ended = await runNode("require('tcp-keepalive'); require('tcp-keepalive/testing')")
    expect(ended).toEqual({ code: 0, signal: null, stdout: '', stderr: '' })
  })

  test('under --permission, where no add-on may load: importing works, using says what to do', async () => {
    const flag =
      Number(process.versions.node.split('.')[0]) >= 23
        ? '--permission'
        : '--experimental-permission'
    const source = `
      const { setKeepalive, support } = require('tcp-keepalive')
      try { setKeepalive(new (require('node:net').Socket)(), true) } catch (error) { console.log('thrown early') }
      console.log(support.setKeepalive)
    `
    const { code, stdout } = await runNode(source, {
      flags: [flag, '--allow-fs-read=*', '--no-warnings'],
    })
    expect(code).toBe(0)
    expect(stdout).toContain('--allow-addons')
    expect(stdout).not.toContain('thrown early')
  })
})
