// What is tried. Every row is one real connection (or many, where false alarms
// are counted), all at once.
//
// set: what the program says, in the words of the API
// state: what the connection is doing when its peer goes silent (scenarios.mjs)
// rtt, loss: of the path, in ms and percent each way; family: 4 or 6
// path: what the path becomes, as link.py has it; every: so often the peer sends, in seconds

const keepalive = (idle, interval, count) => ({ idle, interval, count })

const idle = [
  { set: { keepalive: keepalive(1, 1, 1) } },
  { set: { keepalive: keepalive(1, 1, 9) } },
  { set: { keepalive: keepalive(2, 1, 3) }, family: 6 },
  { set: { keepalive: keepalive(5, 3, 2) } },
  { set: { keepalive: keepalive(1, 1, 3) }, rtt: 300 },
  { set: { keepalive: keepalive(1, 1, 9), userTimeout: 2000 } },
  { set: { keepalive: keepalive(1, 1, 1), userTimeout: 6000 } },
  {
    set: { keepalive: keepalive(2, 3, 9), userTimeout: 5500 },
    note: 'between two probes: 5 s and 8 s',
  },
  { set: { keepalive: keepalive(1, 2, 1), userTimeout: 4000 }, family: 6 },
  { set: { keepalive: keepalive(1, 1, 3), userTimeout: 4000 }, rtt: 100 },
  { set: { userTimeout: 3000 }, note: 'a user timeout alone sends no probe' },
  { set: {}, note: "Linux' default" },
  { set: { ms: 5000 } },
  { set: { ms: 20_000 }, family: 6 },
  { set: { ms: 60_000 } },
  { set: { ms: 5000, slowReader: 'end' }, rtt: 100 },
  { set: { ms: 20_000, slowReader: 'end' }, family: 6 },
].map((row) => ({ ...row, state: 'idle' }))

const inFlight = [
  {
    set: { keepalive: keepalive(1, 1, 1) },
    note: 'keepalive is inactive while data is outstanding',
  },
  { set: { userTimeout: 2000 } },
  { set: { userTimeout: 5000 }, family: 6 },
  { set: { keepalive: keepalive(1, 1, 1), userTimeout: 3000 } },
  { set: { keepalive: keepalive(1, 1, 9), userTimeout: 3000 }, family: 6 },
  { set: { userTimeout: 2000 }, rtt: 100 },
  { set: { userTimeout: 2000 }, rtt: 300 },
  { set: { userTimeout: 10_000 }, rtt: 300, family: 6 },
  { set: { ms: 5000 } },
  { set: { ms: 5000 }, rtt: 100, family: 6 },
  { set: { ms: 20_000 } },
  { set: { ms: 20_000 }, rtt: 100, family: 6 },
  { set: { ms: 60_000 }, rtt: 300 },
  { set: { ms: 5000, slowReader: 'end' } },
  { set: { ms: 20_000, slowReader: 'end' }, rtt: 100, family: 6 },
].map((row) => ({ ...row, state: 'in flight' }))

const written = [
  { set: { keepalive: keepalive(1, 1, 9), userTimeout: 4000 } },
  { set: { ms: 20_000 } },
  { set: { ms: 5000, slowReader: 'end' }, family: 6 },
].flatMap((row) => [0.3, 0.6, 0.9].map((part) => ({ ...row, part, state: 'written into silence' })))

const halfClosed = [
  { set: { keepalive: keepalive(1, 1, 3) }, state: 'we have ended, idle' },
  { set: { ms: 20_000 }, state: 'we have ended, idle', family: 6 },
  { set: { userTimeout: 3000 }, state: 'our end in flight' },
  { set: { ms: 20_000 }, state: 'our end in flight' },
  { set: { keepalive: keepalive(1, 1, 3) }, state: 'they have ended, idle', family: 6 },
  { set: { keepalive: keepalive(1, 1, 9), userTimeout: 3000 }, state: 'they have ended, idle' },
  { set: { userTimeout: 3000 }, state: 'they have ended, in flight' },
  { set: { ms: 20_000 }, state: 'they have ended, in flight', family: 6 },
  { set: { ms: 5000 }, state: 'they have ended, in flight' },
  { set: { ms: 5000, slowReader: 'end' }, state: 'they have ended, in flight' },
]

const zeroWindow = [
  { set: { userTimeout: 3000 }, closedFor: 0, state: 'zero window, dead' },
  { set: { ms: 5000, slowReader: 'end' }, closedFor: 0, state: 'zero window, dead', family: 6 },
  { set: { ms: 5000 }, closedFor: 0, state: 'zero window, dead' },
  { set: { ms: 5000 }, closedFor: 10, state: 'zero window, dead', family: 6 },
  { set: { ms: 20_000 }, closedFor: 0, state: 'zero window, dead' },
  { set: { ms: 20_000 }, closedFor: 12, state: 'zero window, dead', rtt: 100 },
  { set: { ms: 60_000 }, closedFor: 25, state: 'zero window, dead', family: 6 },
  { set: { ms: 5000 }, state: 'zero window, alive' },
  { set: { ms: 20_000 }, state: 'zero window, alive', family: 6 },
  { set: { ms: 60_000 }, state: 'zero window, alive' },
  { set: { ms: 20_000 }, state: 'zero window, alive', rtt: 300 },
  {
    set: { userTimeout: 3000 },
    state: 'zero window, alive',
    note: 'the user timeout ends live peers',
  },
  {
    set: { ms: 5000, slowReader: 'end' },
    state: 'zero window, alive',
    family: 6,
    note: "as `'end'` documents",
  },
]

// TCP_RTO_MAX_MS and nothing else: what the kernel does alone, and where it ends live peers.
const boundOnly = [
  { set: { rtoMax: 1268 }, state: 'in flight' },
  { set: { rtoMax: 1268 }, state: 'in flight', rtt: 300, family: 6 },
  { set: { rtoMax: 3580 }, state: 'in flight', family: 6 },
  { set: { rtoMax: 1268 }, closedFor: 0, state: 'zero window, dead' },
  { set: { rtoMax: 1268 }, closedFor: 12, state: 'zero window, dead', family: 6 },
  { set: { rtoMax: 3580 }, closedFor: 25, state: 'zero window, dead' },
  { set: { rtoMax: 1268 }, state: 'zero window, alive', rtt: 300 },
  { set: { rtoMax: 2100 }, state: 'window closed, data stuck, dead', rtt: 20, loss: 10 },
]

// The peer continues to send: what it sends is no answer to what we have in flight.
const oneWay = [
  { set: { ms: 5000 }, every: 0.3, path: { ours: 1 } },
  { set: { ms: 5000 }, every: 1, path: { ours: 1 }, rtt: 100 },
  { set: { ms: 5000 }, every: 5, path: { ours: 1 }, family: 6 },
  { set: { ms: 20_000 }, every: 1, path: { ours: 1 } },
  { set: { ms: 20_000 }, every: 5, path: { ours: 1 }, rtt: 300, family: 6 },
  { set: { ms: 5000, slowReader: 'end' }, every: 0.3, path: { ours: 1 } },
  { set: { ms: 5000 }, every: 1, path: { theirs: 1 } },
  { set: { ms: 20_000 }, every: 0.3, path: { theirs: 1 }, family: 6 },
  { set: { ms: 5000 }, every: 0.05, path: { largest: 600 }, bytes: 5000 },
  { set: { ms: 5000 }, every: 1, path: { largest: 600 }, bytes: 5000 },
  { set: { ms: 20_000 }, every: 0.3, path: { largest: 600 }, bytes: 50_000, rtt: 100 },
  { set: { ms: 5000, older: true }, every: 0.3, path: { ours: 1 } },
  { set: { ms: 5000, older: true }, every: 1, path: { largest: 600 }, bytes: 5000 },
].map((row) => ({ ...row, state: 'in flight, the peer sends' }))

// As a kernel before Linux 6.15 has it, without that option: the sweep alone.
const olderKernel = [
  { set: { ms: 5000, older: true }, state: 'in flight' },
  { set: { ms: 20_000, older: true }, state: 'in flight', rtt: 100, family: 6 },
  { set: { ms: 5000, older: true }, closedFor: 0, state: 'zero window, dead' },
  { set: { ms: 20_000, older: true }, closedFor: 0, state: 'zero window, dead', rtt: 100 },
  { set: { ms: 20_000, older: true }, closedFor: 0.3, state: 'zero window, dead', family: 6 },
  { set: { ms: 20_000, older: true }, closedFor: 10, state: 'zero window, dead', family: 6 },
  { set: { ms: 5000, older: true }, state: 'zero window, alive' },
  { set: { ms: 20_000, older: true }, state: 'zero window, alive', family: 6 },
]

const closedUponData = [{ ms: 20_000 }, { ms: 60_000 }].map((set) => ({
  set,
  state: 'window closed, data stuck, dead',
  rtt: 20,
  loss: 10,
  within: 0.1,
  note: 'within 10 %: the moment of each look moves all that follows',
}))

const connecting = [
  { set: { userTimeout: 2000 } },
  { set: { userTimeout: 5500 }, family: 6 },
  { set: { ms: 5000 } },
  { set: { ms: 20_000 }, family: 6 },
  { set: { ms: 20_000, slowReader: 'end' } },
  { set: { keepalive: keepalive(1, 1, 1) }, note: 'keepalive begins with the connection' },
].map((row) => ({ ...row, state: 'connecting' }))

// No peer dies here, so no connection may end. (What a path that loses more does: npm run lab -- hostile.)
const alive = [
  { set: { keepalive: keepalive(1, 1, 3) }, state: 'alive, quiet', many: 30 },
  { set: { ms: 5000 }, state: 'alive, quiet', many: 30, loss: 1 },
  { set: { ms: 20_000 }, state: 'alive, quiet', many: 30, rtt: 300, loss: 1 },
  { set: { ms: 5000, slowReader: 'end' }, state: 'alive, quiet', many: 30, rtt: 100, loss: 1 },
  { set: { ms: 5000 }, state: 'alive, talking', many: 30, rtt: 100, loss: 2, family: 6 },
  { set: { ms: 20_000 }, state: 'alive, talking', many: 30, rtt: 300, loss: 5 },
  { set: { ms: 20_000, slowReader: 'end' }, state: 'alive, talking', many: 30, rtt: 100, loss: 5 },
  { set: { ms: 5000 }, state: 'alive, slow reader', many: 30, family: 6 },
  { set: { ms: 5000 }, state: 'alive, slow reader', many: 30, rtt: 100, loss: 1 },
  { set: { ms: 20_000 }, state: 'alive, slow reader', many: 30, rtt: 300, loss: 5 },
  { set: { ms: 20_000 }, state: 'alive, slow reader', many: 60, rtt: 20, loss: 5 },
  {
    set: { ms: 60_000 },
    state: 'alive, slow reader',
    many: 60,
    rtt: 20,
    loss: 10,
    family: 6,
  },
  { set: { ms: 5000, older: true }, state: 'alive, slow reader', many: 30 },
  { set: { ms: 20_000, older: true }, state: 'alive, slow reader', many: 60, rtt: 300, loss: 1 },
  ...[0.3, 1, 5].map((every) => ({
    set: { ms: 5000 },
    state: 'alive, the peer sends',
    every,
    many: 10,
    path: {},
  })),
  ...[{ ours: 0.05 }, { theirs: 0.05 }, { ours: 0.1 }, { theirs: 0.1 }].flatMap((path) => [
    { set: { ms: 20_000 }, state: 'alive, talking', many: 20, rtt: 100, path },
    { set: { ms: 20_000 }, state: 'alive, slow reader', many: 20, rtt: 20, path },
  ]),
]

export const rows = [
  ...idle,
  ...inFlight,
  ...written,
  ...halfClosed,
  ...zeroWindow,
  ...boundOnly,
  ...oneWay,
  ...olderKernel,
  ...closedUponData,
  ...connecting,
  ...alive,
].map((row, nth) => ({
  family: 4,
  rtt: 0,
  loss: 0,
  // A path of one row alone has a port of its own.
  ...(row.path && { port: 28_000 + nth }),
  ...row,
}))

function survives({ state, set: { keepalive, userTimeout, ms, slowReader } }) {
  if (ms) return state === 'zero window, alive' && slowReader !== 'end'
  return state.includes('idle') ? !keepalive : !userTimeout
}

/** --short: those that `npm test` has the time for, deaths within 12 s. */
export const shortRows = rows
  .filter(
    ({ set, many, part, closedFor }) =>
      !(many || set.rtoMax || set.ms > 5000 || part > 0.8 || closedFor) &&
      !(set.older && closedFor === 0),
  )
  .filter((row) => !survives(row))
  .map((row) => ({ ...row, until: 25 }))

/** With --long: a quarter of an hour. */
export const longRows = [
  { set: {}, state: 'in flight', family: 4, rtt: 0, loss: 0, until: 1000, note: "Linux' default" },
  {
    set: { ms: 20_000, older: true },
    closedFor: 10,
    state: 'zero window, dead',
    family: 4,
    rtt: 0,
    loss: 0,
    until: 1000,
  },
]
