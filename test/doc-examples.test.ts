/**
 * The `@example` of each public function, as it stands in its doc comment: compiled
 * against the types, and run around a connection of its own. A line that ends with
 * `// => value` claims what its expression is.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import * as keepalive from 'tcp-keepalive'
import * as testing from 'tcp-keepalive/testing'
import { describe, expect, test, vi } from 'vitest'
import { run } from './support/child.ts'
import { connectedPair } from './support/pair.ts'

const root = join(__dirname, '..')
const folder = join(root, 'build', 'doc-examples')
const file = join(folder, 'examples.ts')

/** The functions and `support`: no class, and none of what Node adds to a CommonJS module. */
const callable = (exports: object): string[] =>
  Object.keys(exports).filter((name) => /^[a-z]\w*$/.test(name) && name !== 'default')

/** What an example finds around it. */
const WORLD = `
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { ${callable(keepalive).join(', ')} } from 'tcp-keepalive'
import { ${callable(testing).join(', ')} } from 'tcp-keepalive/testing'

interface World {
  socket: Socket
  port: number
  reconnect: () => void
  console: Pick<Console, 'log' | 'warn'>
  claim: (actual: unknown, expected: unknown) => void
}`

const TSCONFIG = {
  extends: '../../test/types/tsconfig.json',
  compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
  include: ['examples.ts'],
}

interface Example {
  name: string
  code: string
}

async function write(): Promise<Example[]> {
  const { readEntry } = await import(join(root, 'scripts', 'api', 'read.mjs'))
  const examples: Example[] = []
  for (const { name, doc } of ['index.ts', 'testing.ts'].flatMap(
    (entry) => readEntry(entry).declarations,
  )) {
    for (const code of doc.example ?? []) examples.push({ name, code })
  }
  const functions = examples.map(({ code }, index) => {
    const body = code.replace(/^(\s*)(.+) \/\/ => (.+)$/gm, '$1claim($2, $3)')
    return `export async function example${index}({ socket, port, reconnect, console, claim }: World) {\n${body}\n}`
  })
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG))
  writeFileSync(file, [WORLD, ...functions].join('\n\n'))
  return examples
}

describe.concurrent('the examples of the doc comments', async () => {
  const examples = await write()

  test('every public function has one', () => {
    const names = [...callable(keepalive), ...callable(testing)]
    const shown = new Set(examples.map(({ name }) => name))
    expect(names.length).toBeGreaterThan(0)
    expect(names.filter((name) => !shown.has(name))).toEqual([])
  })

  test('they compile', async () => {
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const ended = await run([process.execPath, tsc, '--project', folder])
    expect(ended).toEqual({ code: 0, signal: null, stdout: '', stderr: '' })
  })

  const numbered = examples.map(({ name }, index) => [name, index] as const)
  test.each(numbered)('%s', async (name, index) => {
    const { [`example${index}`]: example } = await import(/* @vite-ignore */ file)
    const accepted: Socket[] = []
    await using pair = await connectedPair({
      prepareServer: (server) => server.on('connection', (socket) => accepted.push(socket)),
    })
    // An example leaves open what a program would.
    using _ = { [Symbol.dispose]: () => accepted.forEach((socket) => void socket.destroy()) }
    const { client: socket, server } = pair
    const { port } = server.address() as AddressInfo
    const reconnect = vi.fn()
    const console = { log: vi.fn(), warn: vi.fn() }
    const claim = (actual: unknown, expected: unknown) => expect(actual).toEqual(expected)
    await example({ socket, port, reconnect, console, claim })
    if (name !== 'isDeadPeerError') return
    keepalive.setUserTimeout(socket, 1000)
    testing.unplug(socket)
    socket.write('never acknowledged')
    await vi.waitFor(() => expect(reconnect).toHaveBeenCalledOnce(), 5000)
  })
})
