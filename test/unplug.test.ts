/** `tcp-keepalive/testing`: the peer of one socket goes silent, and comes back. */
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { unplug } from 'tcp-keepalive/testing'
import { describe, expect, test, vi } from 'vitest'
import { connectedPair, type PairOptions } from './support/pair.ts'
import { PROCESS_MS } from './support/patience.mts'

const SOCKETS: [string, PairOptions][] = [
  ['IPv4', { family: 4 }],
  ['IPv6', { family: 6 }],
  ['v4-mapped', { family: 'mapped' }],
  ['TLS', { tls: true }],
]

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** What arrives at a socket, as text. */
function inbox(socket: Socket): { text: string } {
  const box = { text: '' }
  socket.on('data', (data) => {
    box.text += data
  })
  return box
}

async function arrives(box: { text: string }, text: string): Promise<void> {
  await vi.waitFor(() => expect(box.text).toBe(text), { timeout: PROCESS_MS, interval: 20 })
}

for (const [name, options] of SOCKETS) {
  for (const end of ['client', 'accepted'] as const) {
    const other = end === 'client' ? 'accepted' : 'client'

    test.concurrent(`${name}, ${end}: nothing arrives any more, until it is plugged in`, async () => {
      await using pair = await connectedPair(options)
      const here = inbox(pair[end])
      const there = inbox(pair[other])
      pair[other].write('1')
      await arrives(here, '1')

      const plugIn = unplug(pair[end])
      pair[other].write('2')
      pair[end].write('a')
      // What this end sends still leaves; only what arrives is dropped.
      await arrives(there, 'a')
      await pause(600)
      expect(here.text).toBe('1')

      plugIn()
      await arrives(here, '12')
      pair[end].write('b')
      await arrives(there, 'ab')
    })
  }
}

describe.concurrent('the function that plugs it in', () => {
  test('is a Symbol.dispose too', async () => {
    await using pair = await connectedPair()
    const here = inbox(pair.client)
    {
      using _silence = unplug(pair.client)
      pair.accepted.write('1')
      await pause(300)
      expect(here.text).toBe('')
    }
    await arrives(here, '1')
  })

  test('may be called again, and once the socket is gone', async () => {
    await using pair = await connectedPair()
    const plugIn = unplug(pair.client)
    plugIn()
    plugIn()
    pair.client.destroy()
    plugIn()
    await once(pair.client, 'close')
    plugIn()
    plugIn[Symbol.dispose]()
  })

  test('leaves the next connection of the same socket alone', async () => {
    await using pair = await connectedPair()
    const { client, server } = pair
    const plugInFirst = unplug(client)
    client.destroy()
    await once(client, 'close')

    const connection = once(server, 'connection') as Promise<[Socket]>
    client.connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [[far]] = await Promise.all([connection, once(client, 'connect')])
    const here = inbox(client)
    const plugIn = unplug(client)
    plugInFirst()
    far.write('1')
    await pause(600)
    expect(here.text).toBe('')
    plugIn()
    await arrives(here, '1')
    far.destroy()
  })

  test('leaves other sockets alone', async () => {
    await using pair = await connectedPair()
    await using bystander = await connectedPair()
    const here = inbox(bystander.client)
    unplug(pair.client)
    bystander.accepted.write('1')
    await arrives(here, '1')
  })
})
