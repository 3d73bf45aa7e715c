// Part of `npm run build:dist`: the modules of src/ in one file, dist/bundle.js.
//
// Loading thirty files took 15 ms where loading one takes 3: Node spends a third of a
// millisecond on finding, reading and wrapping each. Every module keeps a small file of
// its own name that hands on what is in the bundle, so that there is one instance of it,
// whoever asks. index.js must be small: for `import`, Node searches a CommonJS file for
// the names that it exports, and 80 KB of text take 30 ms.
import { readdirSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { rolldown } from 'rolldown'

const root = join(import.meta.dirname, '..')
const src = join(root, 'src')

/** What most programs never load. */
const APART = /^(register|testing|cli|check\/.*)$/

const files = readdirSync(src, { recursive: true }).filter((file) => file.endsWith('.ts'))
const nameOf = (file) => file.slice(0, -'.ts'.length).replaceAll(sep, '/')

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
      {
        name: 'bundle',
        test: (id) => !APART.test(nameOf(relative(src, id))) && !id.endsWith('index.ts'),
      },
    ],
  },
})
await bundle.close()
