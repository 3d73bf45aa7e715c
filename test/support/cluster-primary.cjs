/** What the primaries of test/cluster.test.ts have in common. */
const cluster = require('node:cluster')
const { once } = require('node:events')
const { connect } = require('node:net')
const { join } = require('node:path')

cluster.schedulingPolicy = process.env.POLICY === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR
cluster.setupPrimary({ exec: join(__dirname, 'cluster-worker.cjs'), args: [], execArgv: [] })

class Worker {
  /** Told and not asked for yet. */
  #told = []
  #waiting = []

  constructor() {
    this.process = cluster.fork()
    this.process.on('message', (message) => {
      const index = this.#waiting.findIndex(({ kind }) => kind in message)
      if (index < 0 && 'error' in message) throw new Error(JSON.stringify(message))
      if (index < 0) this.#told.push(message)
      else this.#waiting.splice(index, 1)[0].resolve(message)
    })
  }

  /** The next message of a kind: `done`, `connection` or `error`. */
  next(kind) {
    const index = this.#told.findIndex((message) => kind in message)
    if (index >= 0) return Promise.resolve(this.#told.splice(index, 1)[0])
    return new Promise((resolve) => this.#waiting.push({ kind, resolve }))
  }

  async tell(command, argument) {
    this.process.send({ command, argument })
    return this.next('done')
  }
}

exports.worker = async () => {
  const worker = new Worker()
  await worker.next('done')
  return worker
}

/** Connects, and does not wait for anybody to accept. */
exports.visit = async (port) => {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Ends the whole cluster with an answer for the test. */
exports.answer = (value) => {
  console.log(JSON.stringify(value))
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL')
  process.exit()
}
