/** Each example runs as it stands, on real silent peers, and says what it promises. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { run } from './support/child.ts'

const folder = join(__dirname, '..', 'examples')

const EXPECTED: Record<string, string[]> = {
  'pool-failover.mjs': ['answered: select 1', 'dead peer: true ETIMEDOUT', 'answered: select 2'],
  'shed-devices.mjs': ['here: boiler', 'here: boiler, meter', 'lost power: boiler', 'here: meter'],
  'metrics-opentelemetry.mjs': [
    "tcp.dead_peers 1 { 'peer.service': 'database', 'error.type': 'ETIMEDOUT' }",
  ],
  'metrics-prometheus.mjs': [
    '# HELP tcp_dead_peers_total Connections that ended because the peer was silent',
    '# TYPE tcp_dead_peers_total counter',
    'tcp_dead_peers_total{service="database",code="ETIMEDOUT"} 1',
  ],
  'fetch-bound.mjs': ['silent: dead peer, ETIMEDOUT', 'slow: a first part, and a late one'],
  'websocket-reconnect.mjs': [
    'echo of message 1',
    'dead peer: true ETIMEDOUT',
    'closed: 1006',
    'echo of message 2',
  ],
}

test('all of them are here', () => {
  expect(readdirSync(folder).sort()).toEqual(Object.keys(EXPECTED).sort())
})

describe.concurrent.each(Object.entries(EXPECTED))('%s', (name, lines) => {
  test('runs, within the time', async () => {
    const loopTime = join(__dirname, 'support', 'loop-time.cjs')
    const ended = await run([process.execPath, '--require', loopTime, join(folder, name)])
    expect(ended).toEqual({
      code: 0,
      signal: null,
      stdout: `${lines.join('\n')}\n`,
      stderr: expect.stringMatching(/^\d+$/),
    })
    // 3 s until the peer is given up, and what else the example does.
    expect(Number(ended.stderr)).toBeLessThan(9000)
  })

  test('has at most 40 lines', () => {
    expect(
      readFileSync(join(folder, name), 'utf8').trimEnd().split('\n').length,
    ).toBeLessThanOrEqual(40)
  })
})
