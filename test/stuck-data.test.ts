/** `slowReader: 'keep'` where the peer's window has closed upon data in flight. */
import { join } from 'node:path'
import { systemDefaults } from 'tcp-keepalive'
import { describe, expect, test } from 'vitest'
import { run } from './support/child.ts'
import { ownNetwork, withoutOwnNetwork } from './support/own-network.ts'

const support = join(__dirname, 'support')
const before615 = join(__dirname, '../lab/support/before-6.15.cjs')

/**
 * What becomes of a connection that loses the answers to these segments, the second number
 * excluded. Without settings the segments 2 to 6 come after 0.2, 0.6, 1.5, 3.1 and 6.5 s;
 * set at once, after 1.5 s about one a second.
 */
async function fate(
  lost: `${number}-${number}`,
  wait: number,
  end: number,
  flags: string[] = [],
): Promise<string> {
  const peer = ['python3', join(support, 'closed-window.py'), lost]
  const writer = [
    process.execPath,
    ...flags,
    join(support, 'stuck-writer.cjs'),
    wait,
    2000,
    end,
  ].map(String)
  const { code, stdout, stderr } = await run(['unshare', ...ownNetwork, ...peer, ...writer])
  expect(code, stderr).toBe(0)
  return stdout.trim()
}

describe.skipIf(withoutOwnNetwork !== '')(`stuck data${withoutOwnNetwork}`, () => {
  test.concurrent('one lost answer does not end a live peer', async () => {
    // Wherever the looks, twice a second, fall between the retransmissions.
    const fates = [0, 125, 250, 375].map((wait) => fate('6-7', wait, 6000))
    expect(await Promise.all(fates)).toEqual(fates.map(() => 'alive'))
  })

  test.concurrent('set while the next retransmission is far away: a live peer is asked before it is ended', async () => {
    expect(await fate('0-0', 3500, 8000)).toBe('alive')
  })

  test.concurrent('before Linux 6.15, where they come seldom, nor do two', async () => {
    expect(await fate('5-7', 0, 8500, ['--require', before615])).toBe('alive')
  })

  // Before Linux 6.15 six retransmissions must go unanswered, which takes minutes.
  test
    .skipIf(systemDefaults().rtoMax === undefined)
    .concurrent('a peer that answers no more is ended', async () => {
      expect(await fate('6-99', 0, 8000)).toBe('read ETIMEDOUT')
    })
})
