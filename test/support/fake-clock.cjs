/**
 * Dead peers and live ones while the clock of a test is fake, and after that, for
 * test/left-behind.test.ts. Also run by itself, with a clock of `clocks` below:
 *
 *     node test/support/fake-clock.cjs sinon [late]
 *
 * `late`: the library is loaded when the clock is fake already.
 */
const { once } = require('node:events')
const net = require('node:net')
const { LoopClock } = require('./loop-clock.cjs')

// Before anybody fakes them.
const { setTimeout: later } = globalThis
const { setInterval: every, clearInterval: stop } = globalThis
const { bigint: clock } = process.hrtime

const MS = 2000
/** A dead peer is due after two seconds. */
const LATEST_MS = 9000
const MINUTE_MS = 60_000

async function listening(onconnection) {
  const server = net.createServer((peer) => onconnection(peer.on('error', () => {}).unref()))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}

/** Set as soon as it begins to connect. */
async function open(server, library, socket = new net.Socket()) {
  socket.connect(server.address().port, '127.0.0.1')
  library.setDeadPeerTimeout(socket, MS)
  await once(socket, 'connect')
  return socket
}

/** Two whose peers will be dead: one with data in flight, which the sweep finds, and one that nobody reads. */
async function two(server, library) {
  const unread = await open(server, library, new net.Socket().pause())
  return { inFlight: await open(server, library), unread }
}

/** How each ends: the error. */
async function deaths({ inFlight, unread }, { unplug }) {
  const clock = new LoopClock()
  const end = async (socket) => {
    const message = await new Promise((resolve) => {
      socket.on('error', (error) => resolve(error.message))
    })
    return clock.since() < LATEST_MS ? message : `${message}, late`
  }
  unplug(inFlight)
  unplug(unread)
  inFlight.write('into silence')
  const [first, second] = await Promise.all([end(inFlight), end(unread)])
  return { inFlight: first, unread: second }
}

/**
 * `install` makes the clock fake; it returns `advance`, which moves it, and `uninstall`.
 */
exports.run = async function run(install, late = false) {
  const load = () => ({
    ...require('../../dist/index.js'),
    ...require('../../dist/testing.js'),
  })
  const server = await listening((peer) => peer.resume())
  const slow = await listening((peer) => peer.pause())
  const began = clock()
  const early = late ? undefined : load()
  const { advance, uninstall } = install()
  // Some fake process.nextTick, which Node itself waits for: it runs, and the time stands still.
  const ticks = every(() => advance(0), 20)
  const library = early ?? load()

  // A live peer that does not read: minutes of a fake clock are no silence of its.
  const live = await open(slow, library)
  let hurt = 'alive'
  live.on('error', ({ message }) => {
    hurt = message
  })
  live.write(Buffer.alloc(16 << 20))

  const kept = await two(server, library)
  const dying = deaths(await two(server, library), library)
  for (let minutes = 0; minutes < 10; minutes++) {
    advance(MINUTE_MS)
    await new Promise((resolve) => later(resolve, 100))
  }
  const meanwhile = await dying
  stop(ticks)
  uninstall()
  const [keptOnes, newOnes] = await Promise.all([
    deaths(kept, library),
    deaths(await two(server, library), library),
  ])
  const seconds = Number(clock() - began) / 1e9
  live.destroy()
  server.close()
  slow.close()
  return { meanwhile, setMeanwhile: keptOnes, setAfterwards: newOnes, live: hurt, seconds }
}

const sinon = (options) => () => {
  const fake = require('@sinonjs/fake-timers').install(options)
  return { advance: (ms) => fake.tick(ms), uninstall: () => fake.uninstall() }
}

const clocks = {
  sinon: sinon(),
  'sinon, the time alone': sinon({ toFake: ['Date', 'performance', 'hrtime'] }),
  'sinon, a time that stands still': () => ({
    ...sinon({ toFake: ['Date', 'performance', 'hrtime'] })(),
    advance() {},
  }),
  'sinon, timers alone': sinon({ toFake: ['setTimeout', 'setInterval', 'setImmediate'] }),
  'node:test': () => {
    const { mock } = require('node:test')
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] })
    return { advance: (ms) => mock.timers.tick(ms), uninstall: () => mock.timers.reset() }
  },
}

if (require.main === module) {
  const [kind, late] = process.argv.slice(2)
  exports.run(clocks[kind], late === 'late').then((seen) => {
    process.stdout.write(JSON.stringify(seen))
    later(() => process.exit(), 0)
  })
}
