// npm run lab -- sandbox: in gVisor (runsc), which only looks like Linux: its own network stack, whose
// peer is in a second network namespace of this machine. Runs `check`, the tests that need no unplug,
// and connections whose peer goes silent. Wants root, `ip` and runsc (scripts/setup-debian sandbox).
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const root = join(import.meta.dirname, '../..')
const TESTS = ['options', 'plan', 'units', 'merge', 'bad-input']
/** gVisor's procfs has 0 for what its sockets have 75 and 9 for; and not all works there. */
const BUT = ["an untouched socket has the host's defaults", 'support is true for all functions']
const [OURS, THEIRS] = ['10.99.0.2', '10.99.0.1']

const { stdout } = spawnSync('runsc', ['--version'], { encoding: 'utf8' })
const reason =
  process.platform !== 'linux' || process.getuid() !== 0
    ? 'it takes root on Linux'
    : stdout
      ? undefined
      : 'there is no runsc (scripts/setup-debian sandbox)'
if (reason !== undefined) {
  console.error(`gVisor cannot be run here: ${reason}.`)
  process.exit(1)
}
console.log(stdout.split('\n')[0])

const work = mkdtempSync(join(tmpdir(), 'sandbox-'))
const name = `tcpka-${process.pid}`
const [sandbox, far] = [name, `${name}-far`]

function ip(...words) {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`)
}

/** New for each run, as runsc takes the addresses of the device over. */
function openNetworks() {
  for (const each of [sandbox, far]) ip('netns', 'add', each)
  ip('link', 'add', 'near0', 'netns', sandbox, 'type', 'veth', 'peer', 'name', 'far0', 'netns', far)
  for (const [space, device, address] of [
    [sandbox, 'near0', OURS],
    [far, 'far0', THEIRS],
  ]) {
    ip('-n', space, 'address', 'add', `${address}/24`, 'dev', device)
    ip('-n', space, 'link', 'set', device, 'up')
    ip('-n', space, 'link', 'set', 'lo', 'up')
  }
}

function closeNetworks() {
  for (const each of [sandbox, far]) spawnSync('ip', ['netns', 'delete', each])
}

/** An OCI bundle: the host's files, which it cannot write. */
function bundle(args) {
  const folder = mkdtempSync(join(work, 'bundle-'))
  const mount = (destination, type, source, ...options) => ({ destination, type, source, options })
  const config = {
    ociVersion: '1.0.0',
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: [`PATH=${process.env.PATH}`, 'HOME=/tmp', 'CI=1', 'NO_COLOR=1'],
      cwd: root,
    },
    root: { path: '/', readonly: true },
    hostname: 'sandbox',
    mounts: [
      mount('/proc', 'proc', 'proc'),
      mount('/dev', 'tmpfs', 'tmpfs'),
      mount('/sys', 'sysfs', 'sysfs', 'ro'),
      mount('/tmp', 'tmpfs', 'tmpfs'),
      mount(root, 'bind', root, 'rbind', 'ro'),
    ],
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        { type: 'network', path: `/var/run/netns/${sandbox}` },
      ],
    },
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  return folder
}

let runs = 0

function inSandbox(args, stdio) {
  const state = join(work, 'state')
  mkdirSync(state, { recursive: true })
  // On newer hosts runsc takes the namespace for the host's own unless this folder is covered.
  const cover = `nsenter --net=/var/run/netns/${sandbox} mount -t tmpfs none /proc/sys/net/core`
  const run = `exec runsc --root ${state} --network=sandbox --net-raw run ${name}-${runs++}`
  return spawn('unshare', ['--mount', 'sh', '-c', `${cover} && ${run}`], {
    cwd: bundle(args),
    stdio,
  })
}

async function step(title, args, action) {
  console.log(`\n=== ${title}`)
  openNetworks()
  try {
    const child = inSandbox(args, [
      action ? 'pipe' : 'ignore',
      action ? 'pipe' : 'inherit',
      'inherit',
    ])
    const ended = once(child, 'close')
    await action?.(child)
    const [code] = await ended
    if (code !== 0) failed.push(title)
  } finally {
    closeNetworks()
  }
}

/** The program in the sandbox says when it is ready; from `cut` on nothing comes back to it. */
async function cutWhenReady(child) {
  const peer = spawn(
    'ip',
    ['netns', 'exec', far, process.execPath, join(import.meta.dirname, 'peer.mjs')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  await once(peer.stdout, 'data')
  child.stdin.write('the peer listens\n')
  for await (const line of createInterface({ input: child.stdout })) {
    if (line !== 'ready') {
      console.log(line)
      continue
    }
    ip('-n', far, 'route', 'add', 'blackhole', OURS)
    child.stdin.write('cut\n')
  }
  peer.kill()
}

const failed = []
try {
  await step('tcp-keepalive check', [process.execPath, 'dist/cli.js', 'check'])
  await step(
    'peers that go silent',
    [process.execPath, 'lab/sandbox/subject.mjs', THEIRS],
    cutWhenReady,
  )
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--maxWorkers=2']
  // The project cannot be written.
  vitest.push(
    '--configLoader=runner',
    '--cache=false',
    `--testNamePattern=^(?!.*(${BUT.join('|')}))`,
  )
  vitest.push(...TESTS.map((test) => `test/${test}.test.ts`))
  await step(`tests: ${TESTS.join(', ')}`, [process.execPath, ...vitest])
} finally {
  rmSync(work, { recursive: true, force: true })
}
console.log(
  failed.length === 0 ? '\nAll as it is to be in gVisor.' : `\nFailed: ${failed.join('; ')}`,
)
process.exitCode = failed.length === 0 ? 0 : 1
