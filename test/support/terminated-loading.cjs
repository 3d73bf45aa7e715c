/**
 * Workers that are terminated while they load the binding: `node
 * test/support/terminated-loading.cjs [workers]`. Says how many of them came to its end.
 */
const { join } = require('node:path')
const { Worker } = require('node:worker_threads')

const file = require('node-gyp-build').path(join(__dirname, '..', '..'))
const WORKERS = Number(process.argv[2] ?? 60)
/** Terminating takes some microseconds to arrive: the loading is begun at each of these. */
const STEPS = 40
const STEP_NS = 5000

const WORK = `
  const { parentPort, workerData } = require('node:worker_threads')
  parentPort.postMessage('loading')
  const until = process.hrtime.bigint() + BigInt(workerData.wait)
  while (process.hrtime.bigint() < until);
  require(workerData.file)
  parentPort.postMessage('loaded')
`

let loaded = 0
const life = (wait) =>
  new Promise((resolve) => {
    const worker = new Worker(WORK, { eval: true, workerData: { file, wait } })
    worker.on('message', (what) => {
      if (what === 'loaded') loaded++
      else worker.terminate()
    })
    worker.on('exit', resolve)
  })

async function main() {
  for (let i = 0; i < WORKERS; i++) await life((i % STEPS) * STEP_NS)
  console.log(JSON.stringify({ loaded }))
}

main()
