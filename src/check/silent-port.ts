import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

/** A port on 127.0.0.1 that does not answer connects: its accept queue is full. */
export interface SilentPort {
  port: number
  close(): Promise<void>
}

// A listener whose thread is blocked accepts nothing. With a backlog of 1, two
// connections fill its queue, and the kernel drops every further SYN.
const LISTENER = `
const { createServer } = require('node:net')
const { parentPort, workerData } = require('node:worker_threads')
const server = createServer()
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  setImmediate(() => Atomics.wait(workerData, 0, 0))
})
`
const FILLERS = 4

/** Opens a port where connects get no answer, without privileges. */
export async function silentPort(): Promise<SilentPort> {
  const standstill = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(LISTENER, { eval: true, workerData: standstill })
  const port = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  const fillers: Socket[] = []
  let filled = 0
  await new Promise<void>((resolve) => {
    for (let i = 0; i < FILLERS; i++) {
      const filler = connect(port, '127.0.0.1', () => {
        filled++
        if (filled === 2) resolve()
      })
      filler.on('error', () => {})
      fillers.push(filler)
    }
  })
  return {
    port,
    async close() {
      for (const filler of fillers) filler.destroy()
      Atomics.store(standstill, 0, 1)
      Atomics.notify(standstill, 0)
      await worker.terminate()
    },
  }
}
