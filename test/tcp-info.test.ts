/** TCP_INFO by name, held against `ss` of iproute2 and against situations that are known. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { getTcpInfo, setKeepalive, setUserTimeout, support, type TcpInfo } from 'tcp-keepalive'
import { silentPort } from 'tcp-keepalive/check/silent-port'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test } from 'vitest'
import { answerOf } from './support/child.ts'
import { ended, stall } from './support/death.ts'
import { listen } from './support/listen.ts'
import { connectedPair } from './support/pair.ts'

test('this platform can', () => {
  expect(support.getTcpInfo).toBe(true)
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5)
}

/** What `ss -tnoi` says of a socket: `name:value`, and some values without a colon. */
function ssOf(socket: Socket): Map<string, string> {
  const filter = `( sport = :${socket.localPort} and dport = :${socket.remotePort} )`
  const { stdout, error } = spawnSync('ss', ['-tnoiH', filter], { encoding: 'utf8' })
  if (error !== undefined) throw error
  const fields = new Map<string, string>()
  const words = stdout.trim().split(/\s+/)
  fields.set('state', words[0] ?? '')
  for (const [index, word] of words.entries()) {
    const colon = word.indexOf(':')
    if (colon > 0) fields.set(word.slice(0, colon), word.slice(colon + 1))
    else if (/^(delivery_rate)$/.test(word)) fields.set(word, words[index + 1] ?? '')
  }
  return fields
}

describe.concurrent('as ss reports it', () => {
  test('after some traffic, every field that ss prints is the same', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    accepted.on('data', (chunk) => accepted.write(chunk))
    for (let i = 0; i < 20; i++) {
      client.write(Buffer.alloc(10_000))
      await once(client, 'data')
    }
    client.resume()
    await sleep(100)
    const asked = performance.now()
    const info = getTcpInfo(client)
    const ss = ssOf(client)
    const between = performance.now() - asked
    const [rtt, variance] = (ss.get('rtt') ?? '')
      .split('/')
      .map((ms) => Math.round(Number(ms) * 1000))
    expect(ss.get('state')).toBe('ESTAB')
    expect(info).toMatchObject({
      state: 'ESTABLISHED',
      rttUs: rtt,
      rttVarianceUs: variance,
      minRttUs: Math.round(Number(ss.get('minrtt')) * 1000),
      rtoUs: Math.round(Number(ss.get('rto')) * 1000),
      sendMssBytes: Number(ss.get('mss')),
      receiveMssBytes: Number(ss.get('rcvmss')),
      pathMtuBytes: Number(ss.get('pmtu')),
      congestionWindowSegments: Number(ss.get('cwnd')),
      sentBytes: Number(ss.get('bytes_sent')),
      acknowledgedBytes: Number(ss.get('bytes_acked')),
      receivedBytes: Number(ss.get('bytes_received')),
      sentSegments: Number(ss.get('segs_out')),
      receivedSegments: Number(ss.get('segs_in')),
      receiveSpaceBytes: Number(ss.get('rcv_space')),
    })
    expect(info.rttUs).toBeGreaterThan(0)
    expect(info.sentBytes).toBe(200_000)
    // Newer versions of ss alone print these; the kernel may lack them.
    for (const [name, field] of [
      ['snd_wnd', 'sendWindowBytes'],
      ['rcv_wnd', 'receiveWindowBytes'],
    ] as const) {
      if (ss.has(name)) expect(info[field]).toBe(Number(ss.get(name)))
    }
    expect(`${info.deliveryRateBytesPerSecond * 8}bps`).toBe(ss.get('delivery_rate'))
    // These go on between the two questions.
    for (const [name, field] of [
      ['lastsnd', 'lastDataSentMs'],
      ['lastrcv', 'lastDataReceivedMs'],
      ['lastack', 'lastAckReceivedMs'],
    ] as const) {
      const later = Number(ss.get(name)) - info[field]
      expect(later).toBeGreaterThanOrEqual(0)
      // The kernel counts these in ticks of up to 10 ms.
      expect(later).toBeLessThan(between + 20)
      expect(info[field]).toBeGreaterThanOrEqual(50)
    }
  })

  test('with unacknowledged data', async () => {
    await using pair = await connectedPair()
    const { client } = pair
    setUserTimeout(client, 20_000)
    unplug(client)
    client.write('x')
    // The next one is three seconds away: `ss` sees the same.
    await until(() => getTcpInfo(client).retransmits >= 4)
    const info = getTcpInfo(client)
    const ss = ssOf(client)
    expect(info.unacknowledgedSegments).toBe(Number(ss.get('unacked')))
    expect(info.backoff).toBe(Number(ss.get('backoff')))
    expect(info.rtoUs).toBe(Math.round(Number(ss.get('rto')) * 1000))
    expect(`${info.retransmittedSegments}/${info.totalRetransmittedSegments}`).toBe(
      ss.get('retrans'),
    )
    expect(info.lostSegments).toBe(Number(ss.get('lost')))
    expect(info.retransmittedBytes).toBe(Number(ss.get('bytes_retrans')))
    expect(info.unacknowledgedSegments).toBe(1)
    expect(info.backoff).toBeGreaterThanOrEqual(2)
    expect(info.totalRetransmittedSegments).toBeGreaterThanOrEqual(2)
  })
})

describe.concurrent('the state, by name', () => {
  test('SYN_SENT, while the connect has no answer', async () => {
    const silent = await silentPort()
    const socket = new Socket()
    socket.on('error', () => {})
    socket.connect(silent.port, '127.0.0.1')
    await sleep(50)
    expect(getTcpInfo(socket)).toMatchObject({ state: 'SYN_SENT', rttUs: 0 })
    socket.destroy()
    await silent.close()
  })

  test('ESTABLISHED, then through an end: FIN_WAIT2 here, CLOSE_WAIT there', async () => {
    await using pair = await connectedPair({ allowHalfOpen: true })
    const { client, accepted } = pair
    expect(getTcpInfo(client).state).toBe('ESTABLISHED')
    accepted.resume()
    client.end('x')
    await ended(accepted)
    expect(getTcpInfo(accepted).state).toBe('CLOSE_WAIT')
    await until(() => getTcpInfo(client).state !== 'FIN_WAIT1')
    expect(getTcpInfo(client).state).toBe('FIN_WAIT2')
    // The FIN takes a place in the sequence, as the documentation of the field says.
    expect(getTcpInfo(accepted).receivedBytes).toBe(2)
  })

  test('FIN_WAIT1, while the FIN is not acknowledged', async () => {
    await using pair = await connectedPair({ allowHalfOpen: true })
    unplug(pair.client)
    pair.client.end()
    await until(() => getTcpInfo(pair.client).state !== 'ESTABLISHED')
    expect(getTcpInfo(pair.client)).toMatchObject({
      state: 'FIN_WAIT1',
      unacknowledgedSegments: 1,
    })
  })

  test('CLOSE, once dead; how long the peer has been silent is still reported', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    await stall(client, accepted)
    client.on('error', () => {})
    const { lastAckReceivedMs: before } = getTcpInfo(client)
    setKeepalive(client, { idle: 1, interval: 1, count: 2 })
    unplug(client)
    await until(() => getTcpInfo(client).probes > 0)
    expect(getTcpInfo(client).state).toBe('ESTABLISHED')
    let info = getTcpInfo(client)
    let alive = info
    let looked = performance.now()
    let between = 0
    while (info.state !== 'CLOSE') {
      alive = info
      await sleep(5)
      info = getTcpInfo(client)
      const now = performance.now()
      between = now - looked
      looked = now
    }
    expect(info).toMatchObject({ backoff: 0, unacknowledgedSegments: 0 })
    expect(info.probes).toBeGreaterThan(0)
    expect(info.lastAckReceivedMs).toBeGreaterThan(2000)
    // By the kernel's own clock, however late this process looks.
    expect(alive.lastAckReceivedMs).toBeLessThan(before + 3000 + 600)
    expect(info.lastAckReceivedMs).toBeGreaterThanOrEqual(alive.lastAckReceivedMs)
    expect(info.lastAckReceivedMs).toBeLessThan(alive.lastAckReceivedMs + between + 20)
  })
})

describe.concurrent('situations', () => {
  test('a peer that does not read: its window is closed, bytes wait', async () => {
    await using pair = await connectedPair()
    const { client, accepted } = pair
    await stall(accepted, client)
    await until(() => getTcpInfo(client).sendWindowBytes === 0)
    const info = getTcpInfo(client)
    expect(info.notSentBytes).toBeGreaterThan(0)
    // A live peer answers the probes of its window: the time begins anew.
    let silence = 0
    await until(() => {
      const { lastAckReceivedMs } = getTcpInfo(client)
      const answered = lastAckReceivedMs < silence
      silence = lastAckReceivedMs
      return answered
    })
    expect(getTcpInfo(client)).toMatchObject({ sendWindowBytes: 0, probes: 0 })
    expect(getTcpInfo(accepted).receivedBytes).toBeGreaterThan(accepted.bytesRead)
  })

  test('an idle peer that is there: probes are sent and answered, so none is outstanding', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, { idle: 1, interval: 1, count: 3 })
    const before = getTcpInfo(pair.client)
    await sleep(2500)
    const after = getTcpInfo(pair.client)
    expect(after.probes).toBe(0)
    expect(after.sentSegments).toBeGreaterThan(before.sentSegments)
    expect(after.lastAckReceivedMs).toBeLessThan(1500)
    expect(after.lastDataReceivedMs).toBeGreaterThan(2400)
  })

  test('TLS: the connection below', async () => {
    await using pair = await connectedPair({ tls: true })
    expect(getTcpInfo(pair.client)).toMatchObject({ state: 'ESTABLISHED' })
    expect(getTcpInfo(pair.accepted).receivedBytes).toBeGreaterThan(100)
  })

  test('every field is a number, each call gives an object of its own', async () => {
    await using pair = await connectedPair()
    const { state: _, ...numbers } = getTcpInfo(pair.client)
    // Linux before 6.2 has no receiveWindowBytes.
    expect(Object.keys(numbers)).toHaveLength('receiveWindowBytes' in numbers ? 32 : 31)
    for (const value of Object.values(numbers)) expect(value).toBeGreaterThanOrEqual(0)
    expect(getTcpInfo(pair.client)).not.toBe(getTcpInfo(pair.client))
  })
})

describe.concurrent('fields that the kernel lacks', () => {
  // The binding is made to answer as Linux 4.18 does: 192 bytes, the later fields not written.
  test('are absent, the others are there', async () => {
    await using listening = await listen(createServer())
    const info = await answerOf<TcpInfo>(`
      const { native } = require('./dist/native.js')
      const { tcpInfo } = native()
      const LATER = [15, 16, 26, 27] // bytes_sent, bytes_retrans, snd_wnd, rcv_wnd
      native().tcpInfo = (descriptor) => {
        const kept = LATER.map((index) => native().fields[index])
        tcpInfo(descriptor)
        LATER.forEach((index, i) => { native().fields[index] = kept[i] })
        return 192
      }
      const { getTcpInfo } = require('tcp-keepalive')
      const socket = require('node:net').connect(${listening.port}, '127.0.0.1', () => {
        console.log(JSON.stringify(getTcpInfo(socket)))
        socket.destroy()
      })
    `)
    expect(info.state).toBe('ESTABLISHED')
    expect(info.rttUs).toBeGreaterThan(0)
    expect(Object.keys(info)).toHaveLength(33 - 4)
    for (const field of [
      'sentBytes',
      'retransmittedBytes',
      'sendWindowBytes',
      'receiveWindowBytes',
    ]) {
      expect(info).not.toHaveProperty(field)
    }
  })
})

describe('arguments', () => {
  test('no socket, no descriptor yet, closed, a Unix socket', async () => {
    expect(() => getTcpInfo({} as Socket)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    )
    expect(() => getTcpInfo(new Socket())).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_NOT_CONNECTED' }),
    )
    expect(() => getTcpInfo(new Socket().destroy())).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_CLOSED' }),
    )
    const path = `\0tcp-keepalive-${process.pid}`
    await using _listening = await listen(createServer(), { path })
    const unix = new Socket()
    unix.connect(path)
    await once(unix, 'connect')
    expect(() => getTcpInfo(unix)).toThrow(
      expect.objectContaining({ code: 'ENOTSUP', option: 'TCP_INFO', syscall: 'getsockopt' }),
    )
    unix.destroy()
  })
})
