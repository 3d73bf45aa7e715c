// npm run lab -- NAME [arguments]: builds, and runs one laboratory; without a name, lists them.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const LABS = {
  conformance: 'real deaths and survivals beside what src/kernel/rules.ts predicts',
  hostile: 'lossy, flapping and rejecting networks, and addresses that move',
  differences: 'what a program sees with the library and without',
  soak: 'thousands of connections that live and die, and what they leave behind',
  fuzz: 'the random tests of npm test, for as long as one likes',
  reuse: 'descriptors that are closed and used again at random',
  'dying-workers': 'worker threads that are terminated at random',
  sanitize: 'the native code under sanitizers and valgrind',
  'node-tests': "Node's own tests with the library and without",
  bench: 'what each call costs beside its bare system calls, and beside others',
  gateway: 'what thousands of connections cost, idle, busy, slow and dying',
  probes: 'when the probes of a million connections come, by a simulation',
  compare: 'what others can do: the table of docs/comparison.md',
  sandbox: 'in gVisor: what dies, what is kept, what cannot be had',
  kernels: 'Linux 5.10, 6.1 and 6.12 as user-mode Linux',
  hang: 'connections that hang in every way, as ss shows them',
  gdb: 'the native code with symbols, under gdb',
}

const root = join(import.meta.dirname, '..')
const [name, ...args] = process.argv.slice(2)
if (!Object.hasOwn(LABS, name ?? '')) {
  const list = Object.entries(LABS).map(([each, answers]) => `  ${each.padEnd(20)}${answers}`)
  const wrong = name === undefined ? '' : `There is no laboratory '${name}'.\n`
  console.error(
    `${wrong}npm run lab -- NAME [arguments]\n${list.join('\n')}\nlab/README.md has more.`,
  )
  process.exit(name === undefined ? 0 : 2)
}

const [single, folder] = [`lab/${name}.mjs`, `lab/${name}/run.mjs`]
const program = existsSync(join(root, single)) ? single : folder
const run = (command, ...rest) => {
  const { status, error } = spawnSync(command, rest, { cwd: root, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
run('npm', 'run', 'build')
run(process.execPath, program, ...args)
