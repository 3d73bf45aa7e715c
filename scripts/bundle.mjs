// Part of `npm run build:dist`: the modules of src/ in one file, dist/bundle.js.
//
// Loading thirty files took 15 ms where loading one takes 3: Node spends a third of a
// millisecond on finding, reading and wrapping each. Every module keeps a small file of
// its own name that hands on what is in the bundle, so that there is one instance of it,
// whoever asks.
//
// index.js is written here: its functions load the rest, node:net with it, when the first
// is called. So a program that only imports the package waits for one small file. And for
// `import`, Node searches a CommonJS file for the names that it exports: 80 KB take 30 ms.
import { readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative, sep } from 'node:path'
import { rolldown } from 'rolldown'

const root = join(import.meta.dirname, '..')
const src = join(root, 'src')

/** What most programs never load. */
const APART = /^(register|testing|cli|check\/.*)$/

const files = readdirSync(src, { recursive: true }).filter((file) => file.endsWith('.ts'))
const nameOf = (file) => file.slice(0, -'.ts'.length).replaceAll(sep, '/')

/** src/index.ts as it stands; index.js hands its calls on to it. */
const WHOLE = 'whole'
/** What index.js needs at once: a class, and what may be asked when no file can be opened any more. */
const AT_ONCE = 'at-once'
const NEEDED = ['SocketOptionError', 'isDeadPeerError']

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
  entryFileNames: ({ name }) => `${name === 'index' ? WHOLE : name}.js`,
  chunkFileNames: '[name].js',
  codeSplitting: {
    groups: [
      { name: AT_ONCE, test: /\b(errors|dead-peer-error)\.ts$/, priority: 1 },
      {
        name: 'bundle',
        test: (id) => !APART.test(nameOf(relative(src, id))) && !id.endsWith('index.ts'),
      },
    ],
  },
})
await bundle.close()

const whole = createRequire(import.meta.url)(join(root, 'dist', `${WHOLE}.js`))
const lines = [
  "'use strict'",
  // What is made for good while loading must not keep the context of the first caller.
  // Bundlers and file tracers follow only a require that is written out.
  "const { AsyncResource } = require('node:async_hooks')",
  "const own = new AsyncResource('TCPKEEPALIVE')",
  'let loaded',
  `const load = () => (loaded = own.runInAsyncScope(() => require('./${WHOLE}.js')))`,
]
for (const [name, value] of Object.entries(whole)) {
  if (NEEDED.includes(name)) lines.push(`exports.${name} = require('./${AT_ONCE}.js').${name}`)
  else if (typeof value === 'function') {
    const parameters = ['a', 'b', 'c'].slice(0, value.length).join(', ')
    const call = `(loaded ?? load()).${name}(${parameters})`
    lines.push(`exports.${name} = function ${name}(${parameters}) { return ${call} }`)
  } else {
    const fields = Object.keys(value).map(
      (key) => `get ${key}() { return (loaded ?? load()).${name}.${key} }`,
    )
    lines.push(`exports.${name} = { ${fields.join(', ')} }`)
  }
}
writeFileSync(join(root, 'dist', 'index.js'), `${lines.join('\n')}\n`)
