import { getKeepalive, setKeepalive } from 'tcp-keepalive'
import { describe, expect, test } from 'vitest'
import { connectedPair } from './support/pair.ts'

describe('setKeepalive is what the kernel then has', () => {
  test('all three', async () => {
    await using pair = await connectedPair()
    setKeepalive(pair.client, { idle: 60, interval: 10, count: 3 })
    expect(getKeepalive(pair.client)).toEqual({ enabled: true, idle: 60, interval: 10, count: 3 })
  })
})
