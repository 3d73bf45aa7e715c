// What is tried; every group in a network namespace of its own, all its rows at once.
//
// set: what the program says; state: what the connection is doing (crowd.mjs, alone.mjs)
// rtt: ms; path: what the link does to the packets (support/link.py)
import { setTimeout as sleep } from 'node:timers/promises'

const keep = (ms) => ({ ms, slowReader: 'keep' })
const end = (ms) => ({ ms, slowReader: 'end' })

const idle = [
  [keep(5000), 0.01],
  [keep(5000), 0.05],
  [keep(5000), 0.1],
  [end(5000), 0.1],
  [keep(5000), 0.2],
  [keep(10_000), 0.2],
  [keep(20_000), 0.2],
  [keep(20_000), 0.4],
  [{ keepalive: { idle: 5, interval: 2, count: 3 } }, 0.1],
].map(([set, loss]) => ({ set, state: 'idle', many: 100, path: { loss } }))

const transfers = [
  [keep(5000), 0.1],
  [keep(5000), 0.2],
  [keep(5000), 0.3],
  [keep(5000), 0.4],
  [end(5000), 0.3],
  [end(5000), 0.4],
  [keep(20_000), 0.2],
  [keep(20_000), 0.4],
].map(([set, loss]) => ({ set, state: 'transfers', many: 100, path: { loss } }))

const slowReaders = [
  [keep(5000), 0.02],
  [keep(5000), 0.05],
  [keep(5000), 0.1],
  [keep(20_000), 0.05],
  [keep(20_000), 0.1],
  [keep(20_000), 0.2],
].map(([set, loss]) => ({ set, state: 'slow reader', many: 60, path: { loss } }))

/** More is lost on the way there, or on the way back. */
const asymmetric = [{ ours: 0.05 }, { theirs: 0.05 }, { ours: 0.1 }, { theirs: 0.1 }].flatMap(
  (path) => [
    { set: keep(20_000), state: 'slow reader', many: 60, path },
    { set: keep(5000), state: 'talking', many: 20, none: true, path },
  ],
)

/** Down for so many seconds out of every so many, for everybody at once. */
const flapping = (down, every) =>
  Object.assign(
    async (change, time) => {
      while (time()) {
        await sleep((every - down) * 1000)
        change({ loss: 1 })
        await sleep(down * 1000)
        change({ loss: 0 })
      }
    },
    { title: `down ${down} s of every ${every} s` },
  )

const live = ['idle', 'talking', 'slow reader']
const disorder = { jitter: 0.3, duplicate: 0.3 }
const kept = [
  ...live.map((state) => ({ set: keep(5000), state, path: flapping(1.4, 8) })),
  ...live.map((state) => ({ set: keep(20_000), state, path: flapping(5.5, 30) })),
  ...live.slice(0, 2).map((state) => ({ set: end(5000), state, path: flapping(1.4, 8) })),
  ...live.map((state) => ({ set: keep(5000), state, path: disorder, family: 6 })),
  { set: end(5000), state: 'talking', path: disorder },
  { set: keep(5000), state: 'talking', rtt: 1000, path: { jitter: 0.5 } },
  { set: keep(5000), state: 'talking', path: { ...disorder, loss: 0.05 } },
].map((row) => ({ many: 20, none: true, ...row }))

/** An outage that is longer than the time: no connection is left. */
const lost = [
  { set: keep(5000), state: 'idle' },
  { set: keep(5000), state: 'transfers' },
  { set: keep(5000), state: 'slow reader' },
  { set: end(5000), state: 'idle' },
].map((row) => ({ ...row, many: 20, all: true, seconds: 10, path: flapping(8, 10) }))

// ------------------------------------------------------------ one connection each (alone.mjs)

const ICMP = {
  'ICMP host unreachable': { 4: 1, 6: 3 },
  'ICMP port unreachable': { 4: 3, 6: 4 },
  'ICMP administratively prohibited': { 4: 13, 6: 1 },
  'ICMP protocol unreachable (IPv6: no route)': { 4: 2, 6: 0 },
}
const SOFT = {
  'ICMP host unreachable': { 4: 'EHOSTUNREACH', 6: 'EHOSTUNREACH' },
  'ICMP port unreachable': { 4: 'ECONNREFUSED', 6: 'ECONNREFUSED' },
  'ICMP administratively prohibited': { 4: 'EHOSTUNREACH', 6: 'EACCES' },
  'ICMP protocol unreachable (IPv6: no route)': { 4: 'ENOPROTOOPT', 6: 'ENETUNREACH' },
}
const USER_TIMEOUT = { keepalive: { idle: 1, interval: 1, count: 3 }, userTimeout: 3000 }
const PROGRAMS = [keep(4000), end(4000), USER_TIMEOUT]

/**
 * A probe is outside of what was sent, so the kernel ignores the answer to it, but a
 * window can close on data in flight. The sweep does not read the stored error.
 */
function codesOf(state, { slowReader }, heard) {
  if (slowReader === 'keep' || state === 'idle') return 'ETIMEDOUT'
  return state === 'in flight' ? heard : ['ETIMEDOUT', heard]
}

const firewall = [4, 6].flatMap((family) =>
  PROGRAMS.flatMap((set) =>
    ['idle', 'in flight', 'zero window'].flatMap((state) => [
      { set, state, family, answer: 'drop', code: 'ETIMEDOUT' },
      { set, state, family, answer: 'rst', code: 'ECONNRESET', reset: true },
      ...Object.keys(ICMP).map((answer) => ({
        set,
        state,
        family,
        answer,
        icmp: ICMP[answer][family],
        code: codesOf(state, set, SOFT[answer][family]),
      })),
    ]),
  ),
)

const COMMANDS = {
  'the address moves to another host': { code: 'ECONNRESET', reset: true },
  'our address is removed': {},
  'our link goes down': {},
  "the peer's link goes down": {},
}
const addresses = Object.entries(COMMANDS).flatMap(([event, rest]) =>
  [keep(5000), end(5000)].flatMap((set) =>
    ['idle', 'in flight'].map((state) => ({ set, state, event, ...rest })),
  ),
)

const numbered = (rows, from) =>
  rows.map((row, i) => ({ family: 4, rtt: 20, port: 20_000 + from + i, ...row }))

export const GROUPS = {
  loss: numbered([...idle, ...slowReaders, ...asymmetric], 1000),
  transfers: numbered(transfers, 2000),
  links: numbered([...kept, ...lost], 3000),
  firewall: numbered(firewall, 4000),
  addresses: numbered(addresses, 5000),
}

/** With --long: peers that do not read for ten minutes, and plain Node beside them. */
const stand = [keep(20_000), {}].flatMap((set) =>
  [
    { rtt: 20, path: { loss: 0.05 } },
    { rtt: 300, path: { loss: 0.01 } },
    { rtt: 300, path: { loss: 0.05 } },
  ].map((path) => ({ set, state: 'slow reader', many: 150, seconds: 600, ...path })),
)
export const LONG = {
  stand: { title: 'With TCP_RTO_MAX_MS (Linux 6.15 and newer).', rows: numbered(stand, 6000) },
  'stand, older kernel': {
    title: 'As on an older kernel (the same kernel, with its sysctl hidden from the library).',
    older: true,
    rows: numbered(stand, 7000),
  },
}

/** Those that `npm test` has the time for. */
export const isShort = ({ set, family, answer, event, state, path, many, all, rtt }) => {
  if (event !== undefined) return set.slowReader === 'keep'
  if (many === undefined) return family === 4 && answer !== 'drop' && set.ms !== undefined
  if (path.loss === 0.4) return state === 'transfers' && set.ms === 5000
  if (path.ours ?? path.theirs) return path.ours === 0.1
  return !all && set.ms === 5000 && path.loss === undefined && rtt <= 100
}
