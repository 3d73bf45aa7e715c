/**
 * The kernel refuses: what the error says, and what follows. That each call of each
 * setter can be refused is refusal-table.test.ts.
 */
import { describe, expect, test } from 'vitest'
import { type Row, refusing, useShim } from './support/refusals.ts'

useShim()

/** How to refuse one option: level and number, as in the system's headers. */
const USER_TIMEOUT = '6 18'
const KEEPALIVE = '1 9'

/** What a call throws while an option is refused with that errno. */
const thrown = async (rule: string, call: string) => {
  const { rows } = await refusing<Row['error']>(`
    process.env.REFUSE = 'setsockopt ${rule}'
    return [tell(thrownBy(() => ${call}))]
  `)
  return rows[0] as Row['error']
}

describe.concurrent('the error', () => {
  test('what the call leaves alone is not among the changed', async () => {
    const error = await thrown(`${KEEPALIVE} 1`, 'setKeepalive(client, { interval: 10 })')
    expect(error).toMatchObject({ code: 'EPERM', changed: ['TCP_KEEPINTVL'] })
    expect(error.message).toBe('setsockopt SO_KEEPALIVE EPERM (already changed: TCP_KEEPINTVL)')
  })

  test('MPTCP has no user timeout: the message says so', async () => {
    const error = await thrown(`${USER_TIMEOUT} 92`, 'setUserTimeout(client, 90_000)')
    expect(error).toMatchObject({ class: 'SocketOptionError', code: 'ENOPROTOOPT', changed: [] })
    expect(error.message).toContain('MPTCP')
  })

  test('a system without the option at all: ERR_FEATURE_UNAVAILABLE_ON_PLATFORM', async () => {
    expect(await thrown(`${USER_TIMEOUT} 38`, 'setUserTimeout(client, 90_000)')).toMatchObject({
      class: 'Error',
      code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM',
      message: expect.stringContaining('TCP_USER_TIMEOUT does not exist on this system'),
    })
  })
})

describe.concurrent('afterwards', () => {
  test('an IPv6 socket of which only half could be unplugged is not unplugged', async () => {
    const { rows } = await refusing<object>(`
      const six = net.createServer().listen(0, '::1')
      await once(six, 'listening')
      const near = net.connect(six.address().port, '::1')
      const [far] = await once(six, 'connection')
      // IP_MINTTL, after IPV6_MINHOPCOUNT.
      process.env.REFUSE = 'setsockopt 0 21 1'
      const error = thrownBy(() => unplug(near))
      obey()
      far.write('still here')
      const arrived = await once(near, 'data')
      return [{ code: error.code, syscall: error.syscall, arrived: String(arrived) }]
    `)
    expect(rows).toEqual([{ code: 'EPERM', syscall: 'setsockopt', arrived: 'still here' }])
  })

  test("what was refused is not held against Node's own calls", async () => {
    const { rows } = await refusing<number>(`
      process.env.REFUSE = 'setsockopt ${KEEPALIVE} 1'
      const fresh = (await connected(server)).client
      thrownBy(() => setKeepalive(fresh, { idle: 60, interval: 10, count: 3 }))
      obey()
      fresh.setKeepAlive(true, 42_000)
      return [state(fresh).TCP_KEEPIDLE]
    `)
    expect(rows).toEqual([42])
  })

  test('the same call sets everything, and holds it', async () => {
    const { rows } = await refusing<object>(`
      refuse('setsockopt', 'EPERM', 2)
      const set = () => setKeepalive(accepted, { idle: 60, interval: 10, count: 3 })
      thrownBy(set)
      set()
      accepted.setKeepAlive(true, 42_000)
      return [state(accepted)]
    `)
    expect(rows[0]).toMatchObject({
      TCP_KEEPIDLE: 60,
      TCP_KEEPINTVL: 10,
      TCP_KEEPCNT: 3,
      SO_KEEPALIVE: 1,
    })
  })
})
