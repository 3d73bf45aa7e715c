/** How a process comes to its end: what is set, watched and swept changes neither code nor signal nor output. */
import { describe, expect, test } from 'vitest'
import { runNode } from './support/child.ts'

describe.concurrent('a program whose sockets are set ends as it does without this library', () => {
  /** One that loses its peer; `set` and `watch` are this library's, or do nothing. */
  const program = (library: boolean, main: string) => `
    const { once } = require('node:events')
    const { connect, createServer } = require('node:net')
    const { spawn } = require('node:child_process')
    const { setDeadPeerTimeout } = ${library} ? require('tcp-keepalive') : { setDeadPeerTimeout() {} }
    const server = createServer((peer) => {
      peer.on('error', () => {})
      globalThis.peer = peer
    }).listen(0, '127.0.0.1', async () => {
      const socket = connect(server.address().port, '127.0.0.1')
      setDeadPeerTimeout(server, 60_000)
      setDeadPeerTimeout(socket, 60_000)
      await Promise.all([once(socket, 'connect'), once(server, 'connection')])
      ${main}
    })
  `
  const LOSE = 'peer.resetAndDestroy()'
  const PROGRAMS: Record<string, [ending: number | string, main: string]> = {
    "process.exit inside 'error'": [5, `socket.on('error', () => process.exit(5)); ${LOSE}`],
    "an exception inside 'error'": [
      1,
      `socket.on('error', () => { throw new TypeError('as planned') }); ${LOSE}`,
    ],
    "nobody listens for 'error'": [1, LOSE],
    "a rejection inside 'error'": [
      1,
      `socket.on('error', async () => { throw new TypeError('as planned') }); ${LOSE}`,
    ],
    "process.kill inside 'error'": [
      'SIGKILL',
      `socket.on('error', () => process.kill(process.pid, 'SIGKILL')); ${LOSE}`,
    ],
    "process.exit inside 'close'": [
      6,
      `socket.on('error', () => {}).on('close', () => process.exit(6)); ${LOSE}`,
    ],
    SIGTERM: ['SIGTERM', `process.kill(process.pid, 'SIGTERM')`],
    'SIGTERM that closes everything': [
      7,
      `
      process.on('SIGTERM', () => { server.close(); socket.destroy(); process.exitCode = 7 })
      process.on('exit', (code) => console.log('exit', code))
      process.kill(process.pid, 'SIGTERM')
    `,
    ],
    'process.exit': [3, 'process.exit(3)'],
    'an uncaught exception': [1, "throw new TypeError('as planned')"],
    'by itself, when nothing is referenced': [0, 'socket.unref(); peer.unref(); server.unref()'],
    'by itself, when the socket is destroyed': [0, 'socket.destroy(); server.close()'],
    'by itself, when everything is closed': [
      0,
      `
      process.on('beforeExit', (code) => console.log('beforeExit', code))
      socket.end(); peer.end(); server.close()
    `,
    ],
    'a child with inherited stdio is left no descriptor, and outlives a socket': [
      0,
      `
      const { readdirSync, readFileSync, readlinkSync } = require('node:fs')
      const O_CLOEXEC = 0o2000000
      const left = readdirSync('/proc/self/fd').filter((fd) => {
        try {
          // Not a file that a thread of Node's is reading.
          if (!/^(socket|anon_inode):/.test(readlinkSync('/proc/self/fd/' + fd))) return false
          return (parseInt(readFileSync('/proc/self/fdinfo/' + fd, 'utf8').match(/flags:\\s*(\\d+)/)[1], 8) & O_CLOEXEC) === 0
        } catch {
          return false
        }
      })
      console.log('left open', left.length)
      const child = spawn(process.execPath, ['-e', 'console.log("here")'], { stdio: 'inherit' })
      child.on('exit', (code) => { console.log('child', code); socket.destroy(); server.close() })
    `,
    ],
    'a child with a channel and inherited stdio is ended by SIGTERM': [
      8,
      `
      const child = spawn(process.execPath, ['-e', 'process.send("here"); process.on("message", () => {})'], { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
      await once(child, 'message')
      child.kill('SIGTERM')
      const [code, signal] = await once(child, 'exit')
      console.log('child', code, signal)
      process.exit(8)
    `,
    ],
    'a worker whose error handler exits': [
      9,
      `
      const { Worker } = require('node:worker_threads')
      new Worker(\`
        const socket = require('node:net').connect(\${server.address().port}, '127.0.0.1')
        if (LIBRARY) require('tcp-keepalive').setDeadPeerTimeout(socket, 60_000)
        socket.on('error', () => process.exit(9)).on('connect', () => require('node:worker_threads').parentPort.postMessage(''))
      \`, { eval: true }).on('message', () => peer.resetAndDestroy()).on('exit', (code) => {
        console.log('worker', code)
        process.exit(code)
      })
    `,
    ],
  }

  for (const [name, [ending, main]] of Object.entries(PROGRAMS)) {
    test(name, async () => {
      const [without, with_] = await Promise.all(
        [false, true].map(async (library) => {
          const text = program(library, main.replace('LIBRARY', String(library)))
          const { stderr, ...ended } = await runNode(text)
          // The error's own words; the stack has the place in the text.
          return { ...ended, errors: stderr.match(/^(\w*Error|Error): .*/gm) }
        }),
      )
      expect(with_).toEqual(without)
      expect(with_?.signal ?? with_?.code).toBe(ending)
    })
  }
})
