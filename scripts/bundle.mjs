// Part of `npm run build:dist`: the modules of src/ in one file, dist/bundle.js.
//
// Loading thirty files took 15 ms where loading one takes 3: Node spends a third of a
// millisecond on finding, reading and wrapping each. Every module keeps a small file of
// its own name that hands on what is in the bundle, so that there is one instance of it,
// whoever asks.
//
// Only index.js loads the bundle, and node:net with it, when the first of its functions is
// called: it would make the start of a program that only imports the package 5 ms longer.
import { readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative, sep } from 'node:path'
import { rolldown } from 'rolldown'

const root = join(import.meta.dirname, '..')
const src = join(root, 'src')

/** What most programs never load. */
const APART = /^(register|testing|cli|check\/.*|inspect\/.*)$/

const files = readdirSync(src, { recursive: true }).filter((file) => file.endsWith('.ts'))
const nameOf = (file) => file.slice(0, -'.ts'.length).replaceAll(sep, '/')

/** What index.js needs at once: a class, and what may be asked when no file can be opened any more. */
const AT_ONCE = /\b(errors|dead-peer-error)\.ts$/
const NEEDED = ['SocketOptionError', 'isDeadPeerError']
/** What index.js takes from elsewhere than the bundle. */
const ELSEWHERE = { inspectSockets: './inspect/inspect-sockets.js' }

const bundle = await rolldown({
  input: Object.fromEntries(files.map((file) => [nameOf(file), join(src, file)])),
  platform: 'node',
  external: [/^node:/, 'node-gyp-build'],
  preserveEntrySignatures: 'strict',
  treeshake: false,
})
await bundle.write({
  dir: join(root, 'dist'),
  format: 'cjs',
  esModule: true,
  strict: true,
  comments: false,
  entryFileNames: '[name].js',
  chunkFileNames: '[name].js',
  codeSplitting: {
    groups: [
      { name: 'at-once', test: AT_ONCE, priority: 1 },
      {
        name: 'bundle',
        test: (id) => !APART.test(nameOf(relative(src, id))) && !id.endsWith('index.ts'),
      },
    ],
  },
})
await bundle.close()

const index = join(root, 'dist', 'index.js')
/** Node finds the names for `import` only where each is written out, bundlers a file only where its name is. */
function lazily([name, value]) {
  if (NEEDED.includes(name)) return `exports.${name} = require('./at-once.js').${name}`
  const home = name in ELSEWHERE ? `require('${ELSEWHERE[name]}')` : 'whole()'
  if (typeof value === 'function')
    return `exports.${name} = function ${name}() { return ${home}.${name}(...arguments) }`
  const fields = Object.keys(value).map((key) => `get ${key}() { return whole().${name}.${key} }`)
  // What console.log shows: the answers in place of accessors.
  fields.push(
    `[Symbol.for('nodejs.util.inspect.custom')]: () => Object.fromEntries(Object.entries(whole().${name}))`,
  )
  return `exports.${name} = { ${fields.join(', ')} }`
}
const lines = [
  "'use strict'",
  'let loaded',
  "const whole = () => (loaded ??= require('./bundle.js'))",
  ...Object.entries(createRequire(import.meta.url)(index)).map(lazily),
]
writeFileSync(index, `${lines.join('\n')}\n`)
