// One batch of cells, all at once, in a process that has the library or has not: reads cells
// from stdin, writes what the program saw in each, as JSON. Nothing here knows the library.
import { AsyncLocalStorage } from 'node:async_hooks'
import { execSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { COMES } from './cells.mjs'
import { open } from './protocols.mjs'

/**
 * Nothing for so long, counted from what came last: still waiting. A death is told within 5 s, in
 * which nothing else need happen.
 */
const LIVE_QUIET_MS = 5500
const DEAD_QUIET_MS = 7000
const LOOK_MS = 100
/** What follows upon the end: rejections, second errors. */
const AFTERWARDS_MS = 400
const WRITES_AT_MS = [100, 300, 500]

const cells = JSON.parse(await text(process.stdin))
const running = new AsyncLocalStorage()
/** What no cell could be found for. */
const strays = []
const records = cells.map((cell) => ({ cell, log: [], writes: [], bytes: 0, ended: false }))

for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error) => {
    const said = `${event}: ${error?.name}: ${normal(error?.message)}`
    const record = running.getStore() ?? (cells.length === 1 ? records[0] : undefined)
    if (record === undefined) strays.push(said)
    else record.log.push(said)
  })
}

// Set in the environment of the library only by --require: the peer is plain.
const [command, ...args] = [
  ...(process.env.PEER?.split(' ') ?? []),
  process.execPath,
  join(import.meta.dirname, 'peer.mjs'),
]
const { NODE_OPTIONS: _, ...env } = process.env
const peer = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env })
peer.on('exit', (code) => {
  process.stderr.write(`the peer has ended with ${code}\n`)
  process.exit(1)
})
const happenings = new Map()
peer.on('message', (message) => {
  if (message.port === undefined) happenings.get(message.id).happened()
  else happenings.get(message.id).listens(message.port)
})

const links = cells.filter(({ comes }) => comes.startsWith('link down'))
let linksReady = 0
let cut
const linkDown = new Promise((resolve) => {
  cut = () => {
    execSync(process.env.CUT)
    resolve()
  }
})

// A mistake of this program is no outcome.
await Promise.all(
  records.map((record, id) => running.run(record, () => perform(record, id))),
).catch((error) => {
  process.stderr.write(`${error.stack}\n`)
  process.exit(1)
})
process.stdout.write(
  JSON.stringify({ strays, outcomes: records.map(({ cell, ...outcome }) => outcome) }),
  () => process.exit(),
)

async function perform(record, id) {
  const { cell } = record
  const happening = new Promise((happened) => {
    record.port = new Promise((listens) => happenings.set(id, { happened, listens }))
  })
  const observer = {
    cell,
    log: (...words) => record.log.push(normal(words.join(' ').trim())),
    /** Writes go by timers of their own: their order among the other events is chance. */
    wrote: (...words) => record.writes.push(normal(words.join(' '))),
    took: (bytes) => {
      record.bytes += bytes
    },
    /** Where the peer listens, or after telling it where to connect. */
    port: (own) => {
      peer.send({ id, cell, port: own })
      return record.port
    },
  }
  const { ready, ended, write } = await open(observer)
  await ready.catch(() => {})
  peer.send({ id, go: true })
  const { dead, writes } = COMES[cell.comes]
  await happening
  if (cell.comes.startsWith('link down')) {
    linksReady++
    if (linksReady === links.length) cut()
    await linkDown
  }
  if (writes) {
    for (const ms of WRITES_AT_MS) setTimeout(write, ms)
  }
  ended.then(() => {
    record.ended = true
  })
  const seen = () => record.log.length + record.writes.length + record.bytes
  let before = seen()
  let quiet = 0
  while (!record.ended && quiet < (dead ? DEAD_QUIET_MS : LIVE_QUIET_MS)) {
    await sleep(LOOK_MS)
    quiet = seen() === before ? quiet + LOOK_MS : 0
    before = seen()
  }
  await sleep(AFTERWARDS_MS)
  delete record.port
}

/** Without what differs from one run to the next. */
function normal(text) {
  return String(text)
    .replace(/\b\d+\.\d+\.\d+\.\d+:\d+/g, 'ADDRESS')
    .replace(/\s+/g, ' ')
    .slice(0, 160)
}
