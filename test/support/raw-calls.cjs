// Calls every function that the binding exports with whatever comes. argv: how many calls,
// a seed, and from which call on each is printed before it is made. Prints what it did.
//
// What is given to `close` was opened for that, or is no descriptor at all: this process
// would not survive the loss of libuv's epoll, and a number that is free is soon another's.
// Everything else is given whatever is open here, but for what is protected: two
// connections whose settings must stay, and the listener that all connections come from.
const dgram = require('node:dgram')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const { constants, tmpdir } = require('node:os')
const { join } = require('node:path')
const { spawnSync } = require('node:child_process')
const { isDeepStrictEqual, getSystemErrorMap, inspect } = require('node:util')
const fc = require('fast-check')
const { getKeepalive, getUserTimeout, setKeepalive, setUserTimeout } = require('tcp-keepalive')

const binding = require('node-gyp-build')(join(__dirname, '..', '..'))
const [, , calls = '20000', seed = '1', printFrom = 'Infinity'] = process.argv

const BATCH = 500
const INVALID = -constants.errno.EINVAL
const names = Object.keys(binding).filter((name) => typeof binding[name] === 'function')
const memory = Object.values(binding).filter((value) => value instanceof ArrayBuffer)

const fail = (problem, call) => {
  throw new Error(`${problem}, call ${made} of seed ${seed}: ${show(call)}`)
}
const show = ({ name, args }) => `${name}(${args.map((arg) => inspect(arg)).join(', ')})`

// ---------------------------------------------------------------- what is open

const quiet = (socket) => socket.on('error', () => {})
const fdOf = (handled) => handled._handle?.fd ?? -1

async function pair(server, where) {
  const accepted = once(server, 'connection')
  const client = quiet(net.connect(where))
  const [[peer]] = await Promise.all([accepted, once(client, 'connect')])
  return [client, quiet(peer)]
}

const listening = async (where) => {
  const server = net.createServer({ allowHalfOpen: true }).listen(where)
  await once(server, 'listening')
  return server
}

const protectedFds = new Set()
const usable = []

async function openAll() {
  // Before the library does, which has one of its own otherwise.
  check({ name: 'open', args: [notify] }, binding.open(notify))
  const folder = fs.mkdtempSync(join(tmpdir(), 'raw-calls-'))
  const path = join(folder, 'socket')
  const home = await listening({ port: 0, host: '127.0.0.1' })
  const unix = await listening({ path })
  const toHome = { port: home.address().port, host: '127.0.0.1' }
  const controls = [...(await pair(home, toHome)), ...(await pair(home, toHome))]
  for (const [index, control] of controls.entries()) {
    setKeepalive(control, { idle: 61 + index, interval: 11, count: 4 })
    setUserTimeout(control, 91_000)
  }
  for (const kept of [home, ...controls]) protectedFds.add(fdOf(kept))

  const datagram = dgram.createSocket('udp4').bind(0, '127.0.0.1')
  await once(datagram, 'listening')
  spawnSync('mkfifo', [join(folder, 'pipe')])
  fs.openSync(join(folder, 'pipe'), fs.constants.O_RDWR | fs.constants.O_NONBLOCK)
  for (const file of [__filename, '/', '/dev/null']) fs.openSync(file)
  await listening({ port: 0, host: '127.0.0.1' })
  await listening({ port: 0, host: '::1' })
  await pair(unix, { path })
  // This process, as takeDescriptor wants it: often, as it takes nothing else.
  usable.push(...Array(20).fill(binding.openProcess(process.pid)))
  // All that, and what Node has open itself: its epoll, its eventfds, the standard streams.
  for (const name of fs.readdirSync('/dev/fd')) {
    if (!protectedFds.has(Number(name))) usable.push(Number(name))
  }
  return { folder, home, toHome, controls }
}

const settingsOf = (socket) => ({ ...getKeepalive(socket), userTimeout: getUserTimeout(socket) })

// ---------------------------------------------------------------- what is passed

let noticed = 0
/** Descriptor and ticket of what was watched, and of the timer, since the watcher was opened. */
const watched = new Set()
const notify = (descriptor, ticket) => {
  const notice = `${descriptor} ${ticket}`
  if (!watched.has(notice)) throw new Error(`notice of ${notice}, which nobody watches`)
  noticed++
}

const buffer = fc.oneof(
  fc.nat({ max: 40 }).map((length) => new ArrayBuffer(length)),
  fc.int32Array({ maxLength: 40 }).map((array) => array.buffer),
  fc.int32Array({ maxLength: 40 }),
  fc.uint8Array(),
  fc.nat({ max: 40 }).map((length) => new SharedArrayBuffer(length)),
  fc.nat({ max: 40 }).map((length) => new ArrayBuffer(length, { maxByteLength: 64 })),
  fc.nat({ max: 40 }).map((length) => {
    const detached = new ArrayBuffer(length)
    structuredClone(detached, { transfer: [detached] })
    return detached
  }),
  fc.nat({ max: 40 }).map((length) => new DataView(new ArrayBuffer(length))),
)

/** Up to four connections of `sweep`, which has ten numbers for each. */
const bufferOf = (fds) =>
  fc
    .array(fc.constantFrom(...fds), { minLength: 10, maxLength: 40, size: 'max' })
    .map((descriptors) => new Int32Array(descriptors).buffer)

const number = fc.oneof(
  fc.integer({ min: -2, max: 130 }),
  fc.integer({ min: 995, max: 33_000 }),
  fc.integer(),
  fc.double(),
  fc.maxSafeInteger(),
)

/** What every option takes, more or less. */
const good = fc.array(fc.oneof(fc.integer({ min: -1, max: 127 }), fc.constant(1000)), {
  minLength: 1,
  maxLength: 10,
  size: 'max',
})

const anything = fc.oneof(
  { weight: 6, arbitrary: number },
  { weight: 2, arbitrary: buffer },
  { weight: 1, arbitrary: fc.constant(notify) },
  {
    weight: 1,
    arbitrary: fc.anything({ maxDepth: 1, withBigInt: true, withBoxedValues: true }),
  },
)

/** What must not be taken for the descriptor that it looks like. */
const nearMiss = (fds) =>
  fc
    .constantFrom(...fds)
    .chain((fd) =>
      fc.constantFrom(
        fd + 0.5,
        fd + 2 ** 31,
        fd + 2 ** 32,
        fd + 2 ** 40,
        fd - 2 ** 32,
        -fd,
        String(fd),
        BigInt(fd),
        Object(fd),
        [fd],
        { valueOf: () => fd },
        { fd },
      ),
    )

const nobody = fc.constantFrom(-1, NaN, Infinity, -Infinity, -0.5, 2 ** 31 - 1, 2 ** 20, 2 ** 53)

const callsOn = (fds) => {
  const first = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...fds) },
    { weight: 2, arbitrary: nearMiss([...protectedFds]) },
    { weight: 1, arbitrary: nobody },
    { weight: 2, arbitrary: anything },
  )
  return fc.record({
    name: fc.constantFrom(...names),
    args: fc.oneof(
      { weight: 15, arbitrary: fc.tuple(fc.constantFrom(...fds), good).map(flat) },
      { weight: 6, arbitrary: fc.tuple(first, fc.array(number, { maxLength: 7 })).map(flat) },
      { weight: 2, arbitrary: fc.tuple(first, fc.array(anything, { maxLength: 9 })).map(flat) },
      { weight: 2, arbitrary: fc.tuple(buffer, fc.array(number, { maxLength: 2 })).map(flat) },
      { weight: 3, arbitrary: fc.tuple(bufferOf(fds), fc.nat({ max: 5 })) },
      { weight: 1, arbitrary: fc.constantFrom([], [notify]) },
    ),
    scribble: fc.option(fc.int32Array({ maxLength: 16 }), { freq: 4 }),
  })
}
const flat = ([first, rest]) => [first, ...rest]

const isDescriptor = (value) =>
  Number.isInteger(value) && value >= 0 && value < 2 ** 31 && typeof value === 'number'

/** A free number, or one of ours that must stay: something else in its place. */
function harmless({ name, args }) {
  const [first] = args
  if (!isDescriptor(first)) return
  if (protectedFds.has(first)) args[0] = -1
  else if (name === 'close' && first < 2 ** 20) args[0] = fs.openSync('/dev/null')
}

// ---------------------------------------------------------------- what must come back

function check(call, result) {
  if (!Number.isInteger(result)) fail(`not a whole number but ${inspect(result)}`, call)
  if (!isRightKind(call) && result !== INVALID) fail(`${result} in place of EINVAL`, call)
  if (result < 0 && !getSystemErrorMap().has(-(-result & 0xffff))) fail(`no error: ${result}`, call)
  if (call.name === 'close' && isDescriptor(call.args[0]) && call.args[0] < 2 ** 20) {
    if (result !== 0 || fs.existsSync(`/proc/self/fd/${call.args[0]}`)) fail('not closed', call)
  }
  if (call.name === 'watch' && result === 0) watched.add(`${call.args[0]} ${call.args[1]}`)
  if (call.name === 'setTimer' && result === 0) watched.add('-1 0')
  results[call.name][result < 0 ? 1 : 0]++
}

/** What was watched is forgotten; shutting again is refused, opening again is not. */
function openAgain() {
  watched.clear()
  for (const [name, args] of [
    ['shut', []],
    ['open', [notify]],
  ]) {
    check({ name, args }, binding[name](...args))
  }
}

function isRightKind({ name, args: [first] }) {
  if (name === 'now' || name === 'capabilities' || name === 'shut') return true
  if (name === 'open') return typeof first === 'function'
  // Newer versions of Node-API take shared memory for an ArrayBuffer.
  if (name === 'sweep') return first instanceof ArrayBuffer || first instanceof SharedArrayBuffer
  return isDescriptor(first)
}

/** What they return is a descriptor, and the caller's. */
const OPENING = new Set(['openProcess', 'takeDescriptor'])

/** How many of each were accepted, and refused. */
const results = Object.fromEntries(names.map((name) => [name, [0, 0]]))
let made = 0

async function main() {
  const { folder, home, toHome, controls } = await openAll()
  const before = controls.map(settingsOf)

  while (made < Number(calls)) {
    // Two ends for this batch; both end in it, while they are watched.
    const [client, accepted] = await pair(home, toHome)
    // Nobody reads: only the watcher hears of its end.
    client._handle.readStop()
    const fds = [
      ...usable,
      ...Array(4)
        .fill([fdOf(client), fdOf(accepted)])
        .flat(),
    ]
    const count = Math.min(BATCH, Number(calls) - made)
    for (const call of fc.sample(callsOn(fds), { seed: Number(seed) + made, numRuns: count })) {
      harmless(call)
      if (call.scribble !== null) for (const shared of memory) scribble(shared, call.scribble)
      made++
      if (made >= Number(printFrom)) fs.writeSync(1, `${made} ${show(call)}\n`)
      let result
      try {
        result = binding[call.name](...call.args)
      } catch (error) {
        fail(`thrown ${inspect(error)}`, call)
      }
      check(call, result)
      if (OPENING.has(call.name) && result >= 0) fs.closeSync(result)
      if (call.name === 'shut') openAgain()
      if (made % 50 === 0 && !isDeepStrictEqual(controls.map(settingsOf), before)) {
        fail(`${inspect(controls.map(settingsOf))} in place of ${inspect(before)}, since 50`, call)
      }
    }
    const last = { name: 'watch', args: [fdOf(client), made] }
    check(last, binding.watch(...last.args))
    // What ends unplugged stays in the kernel for a while, deaf to who comes next on its port.
    for (const end of [client, accepted]) binding.unplug(fdOf(end), 0)
    if (made % (2 * BATCH) === 0) accepted.resetAndDestroy()
    else accepted.destroy()
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
    client.destroy()
  }
  fs.rmSync(folder, { recursive: true })
  fs.writeSync(1, `${JSON.stringify({ calls: made, results, noticed })}\n`)
  process.exit()
}

function scribble(shared, integers) {
  new Int32Array(shared).set(integers.subarray(0, shared.byteLength / 4))
}

main()
