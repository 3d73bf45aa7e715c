// node-gyp through a file of its own: yarn gives every package whose scripts name it
// node-gyp as a dependency, and the scripts are in the tarball.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'

const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js')
const command = [gyp, 'configure', 'build', '--loglevel=warn']
process.exitCode = spawnSync(process.execPath, command, { stdio: 'inherit' }).status ?? 1
