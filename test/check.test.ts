import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const cli = join(__dirname, '../dist/cli.js')

interface Run {
  code: number | null
  stdout: string
  stderr: string
}

async function tcpKeepalive(...words: string[]): Promise<Run> {
  const child = spawn(process.execPath, [cli, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

describe.concurrent('tcp-keepalive check', () => {
  test('unplugs the connections, and each error comes when predicted', async () => {
    const { code, stdout, stderr } = await tcpKeepalive('check')
    const line = (name: string): string | undefined =>
      stdout.split('\n').find((text) => text.startsWith(name))
    expect(line("idle, Node's own")).toMatch(/2 h .* no error yet$/)
    expect(line('in flight, keepalive ')).toMatch(/15 min .* no error yet$/)
    for (const name of [
      'idle, keepalive ',
      'idle, keepalive, TLS',
      'in flight, user timeout',
      'connecting, no answer',
    ]) {
      expect(line(name)).toMatch(/ ETIMEDOUT$/)
    }
    expect(stdout).toContain('Each error came when predicted.')
    expect(stderr).toBe('')
    expect(code).toBe(0)
  })

  test('in a pipe it prints plain lines of at most 60 columns, each once', async () => {
    const { stdout } = await tcpKeepalive('check')
    expect(stdout).not.toContain('\u001b')
    expect(stdout.match(/^connecting, no answer/gm)).toHaveLength(1)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(60)
  })

  test('help on request, and without arguments', async () => {
    for (const words of [[], ['--help'], ['-h']]) {
      const { code, stdout } = await tcpKeepalive(...words)
      expect(stdout).toMatch(/^Usage: tcp-keepalive <command>/)
      expect(code).toBe(0)
    }
  })

  test('an unknown command is named', async () => {
    const { code, stdout, stderr } = await tcpKeepalive('chekc')
    expect(stderr).toContain('Unknown command: chekc')
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })
})
