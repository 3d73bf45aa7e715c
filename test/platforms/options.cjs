// One runtime's answers, as JSON: for each function 'works', or what came instead.
// Plain JavaScript without a test runner, so that it runs wherever a socket does.
//   <runtime> test/platforms/options.cjs <result file>
const assert = require('node:assert')
const { once } = require('node:events')
const { writeFileSync } = require('node:fs')
const net = require('node:net')
const { join } = require('node:path')

const root = join(__dirname, '../..')
process.env.PREBUILDS_ONLY = '1'
const results = {}

/** A connected pair; `halfOpen` keeps this end alive after the peer's end. */
async function connect(halfOpen = false) {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const { port } = server.address()
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: halfOpen })
  await once(socket, 'connect')
  const [peer] = await accepted
  server.close()
  peer.on('error', () => {})
  socket.on('error', () => {})
  return { socket, peer }
}

async function test(name, body, halfOpen) {
  let pair
  let timer
  try {
    pair = await connect(halfOpen)
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('nothing within 15 s')), 15_000)
    })
    results[name] = (await Promise.race([body(pair.socket, pair.peer), late])) ?? 'works'
  } catch (error) {
    const message = String(error.message).replace(/\s*\n\s*/g, ' ')
    results[name] = error.code ? `${error.code}: ${message}` : message
  }
  clearTimeout(timer)
  pair?.socket.destroy()
  pair?.peer.destroy()
}

/** The five options straight through the binding, without the public functions. */
async function binding() {
  const native = require('node-gyp-build')(root)
  const integers = new Int32Array(native.integers)
  const find = (socket) => {
    // Deno hands out a new descriptor at every call.
    const { fd = socket._handle.fdForIpc?.() } = socket._handle
    if (fd >= 0 || native.findSocket === undefined) return fd
    const { localAddress, localPort, remoteAddress, remotePort } = socket
    return native.findSocket(localAddress, localPort, remoteAddress, remotePort)
  }
  const options = {
    'binding TCP_USER_TIMEOUT': [0, 5500],
    'binding TCP_RTO_MAX_MS': [1, 2000],
    'binding TCP_KEEPIDLE': [2, 11],
    'binding TCP_KEEPINTVL': [3, 3],
    'binding TCP_KEEPCNT': [4, 4],
    'binding SO_KEEPALIVE': [5, 1],
  }
  const { getSystemErrorName } = require('node:util')
  const check = (result) => {
    if (result < 0) throw new Error(getSystemErrorName(-(-result & 0xffff)))
  }
  for (const [name, [option, value]] of Object.entries(options)) {
    await test(name, async (socket) => {
      const descriptor = find(socket)
      if (!(descriptor >= 0)) throw new Error(`no descriptor (${descriptor})`)
      check(native.get(descriptor, 1 << option))
      assert.notStrictEqual(integers[option], value)
      const values = [-1, -1, -1, -1, -1, -1]
      values[option] = value
      check(native.set(descriptor, ...values))
      check(native.get(descriptor, 1 << option))
      // Where the unit is seconds, 5500 ms become 6.
      const expected = option === 0 && integers[option] !== value ? 6000 : value
      assert.strictEqual(integers[option], expected)
    })
  }
}

async function functions() {
  const library = require(join(root, 'dist/index.js'))
  await test('setKeepalive, getKeepalive', async (socket) => {
    const settings = { idle: 11, interval: 3, count: 4 }
    assert.strictEqual(library.getKeepalive(socket).enabled, false)
    library.setKeepalive(socket, settings)
    assert.deepStrictEqual({ ...library.getKeepalive(socket) }, { enabled: true, ...settings })
    library.setKeepalive(socket, false)
    assert.strictEqual(library.getKeepalive(socket).enabled, false)
  })
  await test('setUserTimeout, getUserTimeout', async (socket) => {
    library.setUserTimeout(socket, 5500)
    assert.ok([5500, 6000].includes(library.getUserTimeout(socket)))
  })
  await test('setDeadPeerTimeout', async (socket) => {
    library.setDeadPeerTimeout(socket, 20_000)
    assert.strictEqual(library.getKeepalive(socket).enabled, true)
  })
  await test('getTcpInfo', async (socket) => {
    const { state } = library.getTcpInfo(socket)
    if (state !== 'ESTABLISHED') throw new Error(`the state is ${state}`)
  })
  await test('systemDefaults', async () => {
    if (Object.keys(library.systemDefaults()).length === 0) return 'this host tells nothing'
  })
  await test('a dead peer (unplug)', async (socket) => {
    const { unplug } = require(join(root, 'dist/testing.js'))
    library.setKeepalive(socket, { idle: 1, interval: 1, count: 2 })
    unplug(socket)
    const [error] = await once(socket.resume(), 'error')
    assert.strictEqual(error.code, 'ETIMEDOUT')
  })
  // The peer has ended and this end has not: Node reads no more, and never hears of the reset.
  await test(
    'an error that Node never sees',
    async (socket, peer) => {
      library.setKeepalive(socket, { idle: 60 })
      const ended = once(socket.resume(), 'end')
      peer.end()
      await ended
      const failed = once(socket, 'error')
      setTimeout(() => peer.resetAndDestroy(), 100)
      const [error] = await failed
      assert.ok(['EPIPE', 'ECONNRESET'].includes(error.code), error.code)
    },
    true,
  )
}

async function main() {
  const { versions, platform, arch } = process
  const runtime = versions.bun ? 'Bun' : versions.deno ? 'Deno' : 'Node'
  const version = versions.bun ?? versions.deno ?? versions.node
  const done = () => {
    const result = { runtime, version, platform, arch, results }
    writeFileSync(process.argv[2], JSON.stringify(result))
  }
  for (const part of [binding, functions]) {
    try {
      await part()
    } catch (error) {
      results[part.name] = String(error.message).split('\n')[0]
    }
    // After each part, so that an abort in the next leaves something to read.
    done()
  }
  process.exit(0)
}

main()
