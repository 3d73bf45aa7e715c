/** Environments of one process: the main thread and its workers, none of which share anything. */
import { describe, expect, test } from 'vitest'
import { answerOf, runNode } from './support/child.ts'

/**
 * What a thread does: it connects, sets, reads back, and ends with what the kernel
 * then has and with how a dead peer's error came.
 */
const WORK = `
const { once } = require('node:events')
const { connect, createServer } = require('node:net')
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

describe.concurrent('the process comes to its end', () => {
  const ends = (main: string) =>
    runNode(`${WORK}connected().then(({ server, socket }) => {${main}})`)
  const CLEAN = { code: 0, signal: null, stdout: '', stderr: '' }

  test('what is set and watched keeps no process alive', async () => {
    expect(
      await ends('setKeepalive(socket, true); socket.unref(); server.close(); server.unref()'),
    ).toEqual(CLEAN)
  })

  test('nothing is left once the socket is closed', async () => {
    expect(await ends('setKeepalive(socket, true); server.close(); socket.destroy()')).toEqual(
      CLEAN,
    )
  })

  test('process.exit with a watched socket', async () => {
    expect(await ends('setKeepalive(socket, true); process.exit(3)')).toEqual({ ...CLEAN, code: 3 })
  })

  test('an exception that nobody catches', async () => {
    const ended = await ends("setKeepalive(socket, true); throw new Error('as planned')")
    expect(ended).toMatchObject({
      code: 1,
      signal: null,
      stderr: expect.stringContaining('as planned'),
    })
  })

  test('importing alone', async () => {
    expect(await runNode("require('tcp-keepalive'); require('tcp-keepalive/testing')")).toEqual(
      CLEAN,
    )
  })

  test('a signal', async () => {
    expect(await ends("setKeepalive(socket, true); process.kill(process.pid, 'SIGTERM')")).toEqual({
      ...CLEAN,
      code: null,
      signal: 'SIGTERM',
    })
  })

  test('--permission, where no add-on may load: importing works, using says what to do', async () => {
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
