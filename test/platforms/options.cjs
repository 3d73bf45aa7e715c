// One runtime's answers, as JSON: for each function 'works', or what came instead.
// Plain JavaScript without a test runner, so that it runs wherever a socket does.
//   <runtime> test/platforms/options.cjs <result file>
const assert = require('node:assert')
const { once } = require('node:events')
const { readFileSync, writeFileSync } = require('node:fs')
const net = require('node:net')
const { join } = require('node:path')

const root = join(__dirname, '../..')
process.env.PREBUILDS_ONLY = '1'
const results = {}

/** A connected pair. */
async function connect() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const { port } = server.address()
  const socket = net.connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const [peer] = await accepted
  server.close()
  peer.on('error', () => {})
  socket.on('error', () => {})
  return { socket, peer }
}

async function test(name, body) {
  let pair
  let timer
  try {
    pair = await connect()
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

/** The binding, and a connected socket's descriptor for it. */
function load() {
  const native = require('node-gyp-build')(root)
  const find = (socket) => {
    // Deno creates a new descriptor at every call.
    const { fd = socket._handle.fdForIpc?.() } = socket._handle
    if (fd >= 0 || native.findSocket === undefined) return fd
    const { localAddress, localPort, remoteAddress, remotePort } = socket
    return native.findSocket(localAddress, localPort, remoteAddress, remotePort)
  }
  return { native, find, integers: new Int32Array(native.integers) }
}

/** The five options straight through the binding, without the public functions. */
async function binding() {
  const { native, find, integers } = load()
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
      integers.fill(-1, 0, 6)
      integers[option] = value
      check(native.set(descriptor))
      check(native.get(descriptor, 1 << option))
      // Where the unit is seconds, 5500 ms become 6.
      const expected = option === 0 && integers[option] !== value ? 6000 : value
      assert.strictEqual(integers[option], expected)
    })
  }
}

/** Of this machine's openssl, made by scripts/test-platforms.mjs: not every runtime can make one. */
function certificate() {
  const { CERTIFICATE } = process.env
  if (CERTIFICATE === undefined) throw new Error('no certificate')
  return { key: readFileSync(`${CERTIFICATE}.key`), cert: readFileSync(`${CERTIFICATE}.crt`) }
}

async function functions() {
  const library = require(join(root, 'dist/index.js'))
  const { native } = load()
  const { findSocket } = native
  let lookups = 0
  if (findSocket !== undefined) {
    native.findSocket = (...addresses) => {
      lookups++
      return findSocket(...addresses)
    }
  }
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
  await test("setDeadPeerTimeout, slowReader: 'end'", async (socket) => {
    library.setDeadPeerTimeout(socket, 20_000, { slowReader: 'end' })
    assert.strictEqual(library.getKeepalive(socket).enabled, true)
  })
  await test('later setKeepAlive calls are ignored', async (socket) => {
    library.setKeepalive(socket, { idle: 11, interval: 3, count: 4 })
    socket.setKeepAlive(true, 99_000)
    assert.strictEqual(library.getKeepalive(socket).idle, 11)
    socket.setKeepAlive(false)
    assert.strictEqual(library.getKeepalive(socket).enabled, false)
  })
  // What knows SO_KEEPALIVE alone, as wine does, can still show that settings arrive.
  await test('getKeepalive', async (socket) => {
    library.getKeepalive(socket)
  })
  const times = results.getKeepalive === 'works'
  delete results.getKeepalive
  const settings = (idle) => (times ? { idle } : true)
  const check = (socket, idle) => {
    if (times) return assert.deepStrictEqual(library.getKeepalive(socket).idle, idle)
    const { native, find, integers } = load()
    assert.strictEqual(native.get(find(socket), 1 << 5), 0)
    assert.strictEqual(integers[5], 1)
  }
  const listen = async (server, ...where) => {
    await once(server.listen(...where), 'listening')
    return server.address().port
  }
  await test('a socket before it connects', async () => {
    const server = net.createServer((accepted) => accepted.on('error', () => {}))
    const port = await listen(server, 0, '127.0.0.1')
    for (const begin of [
      () => net.connect(port, '127.0.0.1'),
      () => net.connect(port, 'localhost'),
      () => {
        const socket = new net.Socket()
        setTimeout(() => socket.connect(port, '127.0.0.1'), 10)
        return socket
      },
    ]) {
      const socket = begin()
      library.setKeepalive(socket, settings(11))
      await once(socket, 'connect')
      check(socket, 11)
      socket.destroy()
    }
    server.close()
  })
  await test('a server', async () => {
    const server = net.createServer()
    library.setKeepalive(server, settings(11))
    const port = await listen(server, 0, '127.0.0.1')
    const socket = net.connect(port, '127.0.0.1')
    const [accepted] = await once(server, 'connection')
    accepted.on('error', () => {})
    check(accepted, 11)
    socket.destroy()
    server.close()
  })
  await test('an http agent', async () => {
    const http = require('node:http')
    const server = http.createServer((_, response) => response.end('answer'))
    const port = await listen(server, 0, '127.0.0.1')
    const agent = new http.Agent({ keepAlive: true, keepAliveMsecs: 99_000 })
    library.setKeepalive(agent, settings(11))
    let socket
    for (let i = 0; i < 2; i++) {
      const request = http.get({ port, host: '127.0.0.1', agent })
      const [response] = await once(request, 'response')
      socket = response.socket
      check(socket, 11)
      await once(response.resume(), 'end')
    }
    agent.destroy()
    server.close()
  })
  await test('an http server', async () => {
    const http = require('node:http')
    const server = http.createServer((_, response) => response.end())
    library.setKeepalive(server, settings(11))
    const port = await listen(server, 0, '127.0.0.1')
    const connected = once(server, 'connection')
    const request = http.get({ port, host: '127.0.0.1', agent: false })
    const [accepted] = await connected
    check(accepted, 11)
    const [response] = await once(request, 'response')
    await once(response.resume(), 'end')
    server.close()
  })
  await test('http2 sessions', async () => {
    const http2 = require('node:http2')
    const server = http2.createServer()
    library.setKeepalive(server, settings(12))
    const port = await listen(server, 0, '127.0.0.1')
    const started = once(server, 'session')
    const session = http2.connect(`http://127.0.0.1:${port}`)
    await once(session, 'connect')
    library.setKeepalive(session, settings(11))
    const [accepted] = await started
    if (times) {
      check(session.socket, 11)
      check(accepted.socket, 12)
    }
    session.destroy()
    server.close()
  })
  await test('TLS', async () => {
    const tls = require('node:tls')
    const server = tls.createServer(certificate())
    library.setKeepalive(server, settings(12))
    const port = await listen(server, 0, '127.0.0.1')
    const secured = once(server, 'secureConnection')
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    library.setKeepalive(socket, settings(11))
    await once(socket, 'secureConnect')
    check(socket, 11)
    const [accepted] = await secured
    accepted.on('error', () => {})
    check(accepted, 12)
    socket.destroy()
    server.close()
  })
  await test('a path is refused', async () => {
    const path =
      process.platform === 'win32'
        ? `\\\\.\\pipe\\keepalive-${process.pid}`
        : `${process.argv[2]}.sock`
    const server = net.createServer()
    await once(server.listen(path), 'listening')
    const socket = net.connect(path)
    await once(socket, 'connect')
    assert.throws(() => library.setKeepalive(socket, true), { code: 'ENOTSUP' })
    assert.throws(() => library.setKeepalive(server, true), { code: 'ENOTSUP' })
    socket.destroy()
    server.close()
  })
  await test('installDefaults', async () => {
    const server = net.createServer((accepted) => accepted.on('error', () => {}))
    const port = await listen(server, 0, '127.0.0.1')
    const undo = library.installDefaults({ keepalive: settings(11) })
    const socket = net.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    undo()
    check(socket, 11)
    socket.destroy()
    server.close()
  })
  await test('getTcpInfo', async (socket) => {
    const { state } = library.getTcpInfo(socket)
    if (state !== 'ESTABLISHED') throw new Error(`the state is ${state}`)
  })
  await test('systemDefaults', async () => {
    if (Object.keys(library.systemDefaults()).length === 0) return 'no defaults on this system'
  })
  await test('a dead peer (unplug)', async (socket) => {
    const { unplug } = require(join(root, 'dist/testing.js'))
    library.setKeepalive(socket, { idle: 1, interval: 1, count: 2 })
    unplug(socket)
    const [error] = await once(socket.resume(), 'error')
    assert.strictEqual(error.code, 'ETIMEDOUT')
  })
  // Two peers in a process of Linux, as the kernel is: one goes silent when it has received
  // something (and ends first, if that is "end"), the other answers no connect.
  const { SILENT_PEER, SILENT_PORT } = process.env
  if (SILENT_PEER !== undefined) {
    await test('setDeadPeerTimeout bounds a connect', async () => {
      const socket = net.connect(Number(SILENT_PORT), '127.0.0.1')
      const begin = performance.now()
      library.setDeadPeerTimeout(socket, 3000)
      const [error] = await once(socket, 'error')
      const seconds = (performance.now() - begin) / 1000
      assert.strictEqual(error.code, 'ETIMEDOUT')
      assert.ok(library.isDeadPeerError(error))
      assert.ok(seconds > 2.1, `after ${seconds} s`)
    })
    await test('a dead peer (in another process), idle', async () => {
      const socket = net.connect(Number(SILENT_PEER), '127.0.0.1')
      await once(socket, 'connect')
      library.setKeepalive(socket, { idle: 1, interval: 1, count: 2 })
      const begin = performance.now()
      socket.write('the last segment that arrives')
      const [error] = await once(socket.resume(), 'error')
      const seconds = (performance.now() - begin) / 1000
      assert.strictEqual(error.code, 'ETIMEDOUT')
      assert.ok(library.isDeadPeerError(error))
      assert.ok(seconds > 2.9, `after ${seconds} s`)
    })
    await test('the error of a socket that is not being read', async () => {
      // After the peer's end Node reads no more.
      const options = { port: Number(SILENT_PEER), host: '127.0.0.1', allowHalfOpen: true }
      const socket = net.connect(options)
      await once(socket, 'connect')
      library.setKeepalive(socket, { idle: 1, interval: 1, count: 2 })
      const ended = once(socket.resume(), 'end')
      socket.write('end')
      await ended
      socket.write('the last segment that arrives')
      const { watch } = library.support
      const [error] = await Promise.race([
        once(socket, 'error'),
        new Promise((_, reject) => {
          if (watch !== true) setTimeout(() => reject(new Error(`support: ${watch}`)), 6_000)
        }),
      ])
      assert.strictEqual(error.code, 'ETIMEDOUT')
    })
  }
  if (findSocket !== undefined) {
    await test('a descriptor is looked up once', async (socket) => {
      const before = lookups
      for (let i = 0; i < 5; i++) library.getKeepalive(socket)
      library.setKeepalive(socket, settings(11))
      check(socket, 11)
      assert.strictEqual(lookups - before, 1)
      // Defaults and a server's own settings are two writes.
      const undo = library.installDefaults({ keepalive: settings(12) })
      const server = net.createServer()
      library.setKeepalive(server, settings(11))
      const port = await listen(server, 0, '127.0.0.1')
      const accepting = once(server, 'connection')
      const client = net.connect(port, '127.0.0.1')
      await once(client, 'connect')
      const [accepted] = await accepting
      accepted.on('error', () => {})
      check(client, 12)
      check(accepted, 11)
      client.destroy()
      server.close()
      undo()
      assert.strictEqual(lookups - before, 3)
    })
    await test('a descriptor that is used again', async (first) => {
      const used = new Set()
      let socket = first
      for (let i = 0; i < 20; i++) {
        library.setKeepalive(socket, settings(11))
        used.add(load().find(socket))
        // The next socket takes the number in the same turn.
        const earlier = socket
        earlier.destroy()
        const { socket: next, peer } = await connect()
        assert.throws(() => library.getKeepalive(earlier), { code: 'ERR_SOCKET_CLOSED' })
        assert.strictEqual(library.getKeepalive(next).enabled, false)
        peer.unref()
        socket = next
      }
      socket.destroy()
      assert.ok(used.size < 20, 'no number was used again')
    })
  }
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
