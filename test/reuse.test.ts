/** Descriptors are small numbers that are soon another socket's: none ever has what was meant for one before it. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { run } from './support/child.ts'

const file = join(__dirname, '../lab/reuse.mjs')
const onLinux = process.platform === 'linux' && spawnSync('ls', ['/proc/self/fd']).status === 0

test.skipIf(!onLinux)(
  '1500 connects, set and destroyed in random order: each live socket has what was meant for it, and no error of another (Linux: 127/8 and /proc)',
  async () => {
    const { code, stdout, stderr } = await run([process.execPath, file, '1500'])
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ wrong: [], leaked: 0 })
    const counts = JSON.parse(stdout) as Record<string, number>
    // What is to be provoked has happened.
    expect(counts.reused).toBeGreaterThan(1000)
    expect(counts.takenOver).toBeGreaterThan(10)
    expect(counts.told).toBeGreaterThan(100)
    expect(counts.fromFinalizers).toBeGreaterThan(100)
    expect(counts.refusedWhenClosed).toBeGreaterThan(1000)
    expect(counts.readBack).toBeGreaterThan(10_000)
    expect(code).toBe(0)
  },
)
