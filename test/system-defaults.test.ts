import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { readDefaults, systemDefaults } from '../src/kernel/system-defaults.js'

const sysctl = (name: string) =>
  Number(execFileSync('cat', [`/proc/sys/net/ipv4/${name}`], { encoding: 'utf8' }))

describe.runIf(process.platform === 'linux')('on this host', () => {
  test("returns the kernel's own figures, in the units of the API", () => {
    expect(systemDefaults()).toMatchObject({
      idle: sysctl('tcp_keepalive_time'),
      interval: sysctl('tcp_keepalive_intvl'),
      count: sysctl('tcp_keepalive_probes'),
      retries2: sysctl('tcp_retries2'),
      synRetries: sysctl('tcp_syn_retries'),
    })
  })
})

describe('from a folder', () => {
  const folders: string[] = []
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
  })
  function folderWith(files: Record<string, string>): string {
    const folder = mkdtempSync(join(tmpdir(), 'defaults-'))
    folders.push(folder)
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    return folder
  }

  test('a field that the host does not report is absent, not undefined', () => {
    const defaults = readDefaults(folderWith({ tcp_keepalive_time: '600\n', tcp_retries2: '8\n' }))
    expect(defaults).toStrictEqual({ idle: 600, retries2: 8 })
    expect(readDefaults(join(tmpdir(), 'no-such-folder'))).toStrictEqual({})
  })

  test('a file without a number leaves the field absent', () => {
    expect(
      readDefaults(folderWith({ tcp_retries2: '\n', tcp_syn_retries: 'many\n' })),
    ).toStrictEqual({})
  })

  test('microseconds become milliseconds', () => {
    expect(readDefaults(folderWith({ tcp_rto_min_us: '5500\n' }))).toStrictEqual({ rtoMin: 5.5 })
  })

  test('nothing is remembered', () => {
    const folder = folderWith({ tcp_retries2: '15' })
    expect(readDefaults(folder).retries2).toBe(15)
    writeFileSync(join(folder, 'tcp_retries2'), '6')
    expect(readDefaults(folder).retries2).toBe(6)
  })
})
