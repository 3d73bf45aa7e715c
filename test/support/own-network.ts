/** Whether this user can have a network of its own: a namespace, a TUN device and a veth pair in it. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

export const ownNetwork =
  process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net']
const inside = [
  `python3 -c 'open("/dev/net/tun", "r+b", 0)'`,
  'ip link add left type veth peer name right',
  'nsenter --version',
].join(' && ')

/** Why not, for the title of a test that is skipped; empty where it can. */
export const withoutOwnNetwork: string =
  process.platform !== 'linux'
    ? ' (skipped: network namespaces are Linux)'
    : !existsSync('/dev/net/tun') ||
        spawnSync('unshare', [...ownNetwork, 'sh', '-c', inside]).status !== 0
      ? ' (skipped: no network namespace with a TUN device and veth, or no python3, unshare, nsenter or ip)'
      : ''
