/**
 * Prisma's client as `prisma generate` 7.10 writes it for a schema of PostgreSQL without models (generator
 * `prisma-client`, internal/class.ts), without the types. The generator needs a download; this does not.
 */
import { createRequire } from 'node:module'
import * as runtime from '@prisma/client/runtime/client'

export const PrismaClient = runtime.getPrismaClient({
  previewFeatures: [],
  clientVersion: createRequire(import.meta.url)('@prisma/client/package.json').version,
  engineVersion: '0',
  activeProvider: 'postgresql',
  inlineSchema: 'datasource db {\n  provider = "postgresql"\n}\n',
  runtimeDataModel: { models: {}, enums: {}, types: {} },
  parameterizationSchema: { strings: [], graph: 'AAAA' },
  compilerWasm: {
    getRuntime: () => import('@prisma/client/runtime/query_compiler_fast_bg.postgresql.mjs'),
    async getQueryCompilerWasmModule() {
      const { wasm } = await import(
        '@prisma/client/runtime/query_compiler_fast_bg.postgresql.wasm-base64.mjs'
      )
      return new WebAssembly.Module(Buffer.from(wasm, 'base64'))
    },
    importName: './query_compiler_fast_bg.js',
  },
})
