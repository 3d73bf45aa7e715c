/**
 * What only looks like Linux (gVisor, qemu-user): options are taken that have no effect, and
 * TCP_INFO has no numbers. Here Linux is made to refuse what those do not have (refuse.c), and the
 * user timeout of a connect is taken away. npm run lab -- sandbox runs in gVisor itself.
 */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { planDeadPeerTimeout, setDeadPeerTimeout } from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { native } from 'tcp-keepalive/native'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { refusing, useShim } from './support/refusals.ts'

interface Told {
  code: string
  message: string
}

const TCP_INFO = 'getsockopt 6 11 92'
const IP_MINTTL = 'getsockopt 0 21 92'

describe.concurrent('TCP_INFO has no numbers', () => {
  useShim()

  test('slowReader is end, keep by name is an error, and nothing is read that is not there', async () => {
    const { rows } = await refusing<Record<string, unknown>>(
      `
      const { planDeadPeerTimeout, detectionTime, getUserTimeout, installDefaults, support } = library
      const undo = installDefaults({ deadPeerTimeout: 60_000 })
      const driver = net.connect(server.address().port, '127.0.0.1')
      await once(driver, 'connect')
      undo()
      await sleep(600)
      return [{
        omitted: setDeadPeerTimeout(client, 20_000),
        end: planDeadPeerTimeout(20_000, { slowReader: 'end' }),
        set: getUserTimeout(client),
        byDefault: getUserTimeout(driver),
        inMinute: planDeadPeerTimeout(60_000).userTimeout,
        keep: tell(thrownBy(() => setDeadPeerTimeout(client, 20_000, { slowReader: 'keep' }))),
        taken: setDeadPeerTimeout(client, 0, { slowReader: 'keep' }).slowReader,
        info: tell(thrownBy(() => getTcpInfo(client))),
        time: tell(thrownBy(() => detectionTime(client))),
        of: detectionTime({ userTimeout: 5000 }).unacknowledged,
        support: { ...support },
      }]`,
      { env: { REFUSE: TCP_INFO } },
    )
    const [told = {}] = rows
    const { omitted, end, set, byDefault, inMinute, keep, taken, info, time, of, support } = told
    expect(omitted).toEqual(end)
    expect(omitted).toMatchObject({ slowReader: 'end', silence: 0, userTimeout: set })
    expect(byDefault).toBe(inMinute)
    expect(taken).toBe('keep')
    const unavailable = {
      code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
      message: expect.stringContaining('TCP_INFO has no numbers here'),
    }
    for (const error of [keep, info, time]) expect(error).toMatchObject(unavailable)
    expect((keep as Told).message).toContain("{ slowReader: 'end' }")
    expect(of).toBeGreaterThan(5000)
    const reason = unavailable.message
    expect(support).toMatchObject({
      setUserTimeout: true,
      setDeadPeerTimeout: reason,
      getTcpInfo: reason,
      watch: reason,
      unplug: true,
    })
  })

  test('data in flight is timed out in time all the same', async () => {
    const { rows } = await refusing<{ code: string; after: number }>(
      `
      setDeadPeerTimeout(client, 3000)
      unplug(client)
      client.write('x')
      const begin = performance.now()
      const [{ code }] = await once(client, 'error')
      return [{ code, after: performance.now() - begin }]`,
      { env: { REFUSE: TCP_INFO } },
    )
    expect(rows[0]?.code).toBe('ETIMEDOUT')
    expect(rows[0]?.after).toBeGreaterThan(2000)
    expect(rows[0]?.after).toBeLessThan(6000)
  })

  test('check shows what can be shown, and that is no failure', async () => {
    const { rows } = await refusing<{ status: number; stdout: string }>(
      `
      const { spawnSync } = require('node:child_process')
      const { status, stdout } = spawnSync(process.execPath, ['dist/cli.js', 'check'], { encoding: 'utf8' })
      return [{ status, stdout }]`,
      { env: { REFUSE: IP_MINTTL } },
    )
    const { status, stdout } = rows[0] as { status: number; stdout: string }
    expect(stdout).toMatch(/^connecting, no answer .* ETIMEDOUT$/m)
    expect(stdout).toContain('Cannot be shown here:\n  idle')
    expect(status).toBe(0)
  })

  test('an option that came later than this kernel is named as such', async () => {
    const { rows } = await refusing<Told>(
      `
      const error = thrownBy(() => setDeadPeerTimeout(client, 20_000, { slowReader: 'end' }))
      return error ? [tell(error)] : []`,
      { env: { REFUSE: 'setsockopt 6 44 92' } },
    )
    // Where the host's own kernel is that old, the option is not written at all.
    if (planDeadPeerTimeout(20_000).rtoMax === null) return
    expect(rows[0]?.message).toContain('setsockopt TCP_RTO_MAX_MS ENOPROTOOPT')
    expect(rows[0]?.message).toContain('Linux 6.15')
    expect(rows[0]?.message).not.toContain('MPTCP')
  })

  test('unplug that has no effect throws, and support says so', async () => {
    const { rows } = await refusing<{ support: string; error: Told; arrived: string }>(
      `
      const { support } = library
      const error = tell(thrownBy(() => unplug(client)))
      const data = once(client, 'data')
      accepted.write('still there')
      return [{ support: support.unplug, error, arrived: String((await data)[0]) }]`,
      { env: { REFUSE: IP_MINTTL } },
    )
    expect(rows[0]?.support).toContain('no socket can be unplugged')
    expect(rows[0]?.error).toMatchObject({
      code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
      message: rows[0]?.support,
    })
    expect(rows[0]?.arrived).toBe('still there')
  })
})

/** As a kernel that takes the option, and connects as long as it likes. */
async function withoutConnectTimeout(socket: Socket): Promise<void> {
  const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
  const { integers, set } = native()
  integers.fill(-1)
  integers[0] = 0
  expect(set(fd)).toBe(0)
}

/** All that Node's errors of a connect have. */
const fieldsOf = (error: NodeJS.ErrnoException) => ({ ...error, message: error.message })

describe.concurrent('a connect that the kernel does not bound', () => {
  test("ends with Node's own error, a little later than the kernel's would", async () => {
    await using silent = await disposable(silentPort())
    const own = connect(silent.port, '127.0.0.1')
    setDeadPeerTimeout(own, 2000)
    const [error] = (await once(own, 'error')) as [NodeJS.ErrnoException]

    const socket = connect(silent.port, '127.0.0.1')
    setDeadPeerTimeout(socket, 2000)
    const begin = performance.now()
    const failed = once(socket, 'error')
    await once(socket, 'connectionAttempt')
    await sleep(0)
    await withoutConnectTimeout(socket)
    const [ours] = (await failed) as [NodeJS.ErrnoException]
    expect(performance.now() - begin).toBeGreaterThan(1800)
    expect(performance.now() - begin).toBeLessThan(6000)
    expect(fieldsOf(ours)).toEqual(fieldsOf(error))
    expect(ours.message).toBe(`connect ETIMEDOUT 127.0.0.1:${silent.port}`)
    expect(socket.destroyed).toBe(true)
  })

  test('the next address is tried, as after an error of the kernel', async () => {
    await using silent = await disposable(silentPort())
    const server = createServer((accepted) => accepted.on('error', () => {}).resume())
    await once(server.listen(silent.port, '::1'), 'listening')
    const socket = connect({
      port: silent.port,
      host: 'two.example',
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 60_000,
      // As a real one, it answers later.
      lookup: (_, __, done) =>
        setImmediate(done, null, [
          { address: '127.0.0.1', family: 4 },
          { address: '::1', family: 6 },
        ]),
    })
    setDeadPeerTimeout(socket, 2000)
    const failed = once(socket, 'connectionAttemptFailed')
    const connected = once(socket, 'connect')
    await once(socket, 'connectionAttempt')
    await sleep(0)
    await withoutConnectTimeout(socket)
    const [address, , , error] = await failed
    expect([address, error.message]).toEqual([
      '127.0.0.1',
      `connect ETIMEDOUT 127.0.0.1:${silent.port}`,
    ])
    await connected
    expect(socket.remoteAddress).toBe('::1')
    socket.destroy()
    server.close()
  })

  test('0 takes the bound back', async () => {
    await using silent = await disposable(silentPort())
    const socket = connect(silent.port, '127.0.0.1')
    setDeadPeerTimeout(socket, 2000)
    await once(socket, 'connectionAttempt')
    await sleep(0)
    setDeadPeerTimeout(socket, 0)
    await sleep(4000)
    expect(socket.connecting).toBe(true)
    socket.destroy()
  })

  // The loop stands still for longer than the bound: what the kernel has done meanwhile is found first.
  test('one that is over, though Node has not seen it, is left alone', async () => {
    const answer = await answerOf<string[]>(`
      const net = require('node:net')
      const { setDeadPeerTimeout } = require('tcp-keepalive')
      const { native } = require('./dist/native.js')
      const server = net.createServer().listen(0, '127.0.0.1', () => {
        const socket = net.connect(server.address().port, '127.0.0.1')
        setDeadPeerTimeout(socket, 2000)
        const came = []
        for (const event of ['connect', 'error']) socket.on(event, () => came.push(event))
        const standStill = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3500)
        socket.once('connectionAttempt', () => process.nextTick(standStill))
        setTimeout(() => {
          console.log(JSON.stringify(came))
          process.exit()
        }, 6000)
      })
    `)
    expect(answer).toEqual(['connect'])
  })
})

async function disposable(opened: ReturnType<typeof silentPort>) {
  const { port, close } = await opened
  return { port, [Symbol.asyncDispose]: close }
}
