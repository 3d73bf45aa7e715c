import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const built = (file: string): string => fileURLToPath(new URL(`dist/${file}.js`, import.meta.url))

export default defineConfig({
  test: {
    include: ['test/*.test.ts'],
    // The built product is tested, as users get it: CommonJS, loaded by Node itself.
    alias: [
      { find: /^tcp-keepalive$/, replacement: built('index') },
      { find: /^tcp-keepalive\/(.*)$/, replacement: built('$1') },
    ],
    server: { deps: { external: [/\/dist\//] } },
    // The tests wait for the kernel, not for a processor: many at once cost nothing.
    pool: 'forks',
    maxWorkers: 12,
    maxConcurrency: 64,
    testTimeout: 30_000,
  },
})
