import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { TEST_MS } from './test/support/patience.mts'

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
    // The tests wait for the kernel more than for a processor.
    pool: 'forks',
    maxWorkers: 3 * availableParallelism(),
    maxConcurrency: 64,
    testTimeout: TEST_MS,
    hookTimeout: TEST_MS,
    teardownTimeout: TEST_MS,
  },
})
