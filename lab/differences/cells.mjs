// What is compared: who reads, what comes, how much lies in the kernel, over which protocol.

/** Bytes. */
const VOLUMES = { nothing: 0, '1 KB': 1000, '200 KB': 200_000, '5 MB': 5_000_000 }

/** How a consumer takes what has arrived. `stands` is for how long it takes nothing. */
export const READERS = {
  never: { stands: Number.POSITIVE_INFINITY },
  promptly: { stands: 0 },
  // Slow for so many pieces, prompt after them: 5 MB would take half a minute.
  'a piece every 150 ms': { stands: 150, slowPieces: 40 },
  'a piece every 400 ms': { stands: 400, slowPieces: 15 },
  'after 1.5 s': { stands: 1500 },
  'paused for 1.5 s': { stands: 1500 },
  'stuck for 1.5 s': { stands: 1500 },
  // Longer than a death takes.
  'paused for 6 s': { stands: 6000 },
  'stuck for 6 s': { stands: 6000 },
}

/**
 * What the peer does. `writes`: our end writes afterwards. `dead`: the peer is never heard of
 * again, and plain Node waits for a quarter of an hour.
 */
export const COMES = {
  RST: {},
  // A close with unread data, which the kernel makes a reset of.
  'RST by close': {},
  FIN: {},
  'FIN, then RST': {},
  'RST, then we write': { writes: true },
  'FIN, then we write': { writes: true },
  silence: { dead: true },
  'silence, then we write': { dead: true, writes: true },
  'link down, then we write': { dead: true, writes: true },
}

export const isDead = ({ comes }) => COMES[comes].dead === true

const RESETS = ['RST', 'FIN', 'FIN, then RST', 'RST, then we write', 'FIN, then we write']
const DEATHS = ['silence', 'silence, then we write', 'link down, then we write']
const SOME = ['RST', 'FIN, then RST', 'silence']

/**
 * `events`: those a protocol can have, or those that another row has not shown already.
 * `answer`: an http body that is all there, or one of which more was announced.
 * `full`: all consumers; without it some.
 */
const PROTOCOLS = [
  { protocol: 'net', full: true, events: [...RESETS, 'RST by close', ...DEATHS] },
  { protocol: 'net', halfOpen: true, events: ['FIN', 'FIN, then RST', ...DEATHS] },
  { protocol: 'net', tls: true, events: [...RESETS, ...DEATHS] },
  { protocol: 'http', answer: 'cut', events: [...RESETS, ...DEATHS] },
  { protocol: 'http', answer: 'complete', full: true, events: ['RST', 'RST by close'] },
  { protocol: 'http', answer: 'complete', events: ['FIN', 'FIN, then RST'] },
  { protocol: 'http', answer: 'cut', tls: true, events: SOME },
  { protocol: 'http server', answer: 'cut', events: [...RESETS, ...DEATHS] },
  { protocol: 'http server', answer: 'complete', events: ['RST', 'FIN, then RST'] },
  { protocol: 'http2', answer: 'cut', events: [...RESETS, ...DEATHS] },
  { protocol: 'http2', answer: 'cut', tls: true, events: SOME },
  { protocol: 'fetch', answer: 'cut', close: true, full: true, events: ['RST'] },
  {
    protocol: 'fetch',
    answer: 'cut',
    close: true,
    events: ['RST by close', 'FIN', ...SOME.slice(1)],
  },
  { protocol: 'fetch', answer: 'cut', events: SOME },
  { protocol: 'fetch', answer: 'complete', close: true, events: ['RST', 'FIN, then RST'] },
  { protocol: 'fetch', answer: 'cut', close: true, tls: true, events: SOME },
  { protocol: 'undici', major: 6, answer: 'cut', close: true, events: SOME },
  { protocol: 'undici', major: 7, answer: 'cut', close: true, events: SOME },
  { protocol: 'ws', events: [...RESETS, ...DEATHS] },
  { protocol: 'ws', tls: true, events: SOME },
]

/** Who reads how much; 5 MB with the kernel's own buffers, too, which take only a part of it. */
const CONSUMERS = [
  ['never', 'nothing'],
  ['never', '1 KB'],
  ['never', '200 KB'],
  ['never', '5 MB'],
  ['never', '5 MB', 'ordinary'],
  ['promptly', 'nothing'],
  ['promptly', '200 KB'],
  ['a piece every 400 ms', '200 KB'],
  ['a piece every 150 ms', '5 MB'],
  ['a piece every 150 ms', '5 MB', 'ordinary'],
  ['a piece every 400 ms', '5 MB'],
  ['after 1.5 s', '1 KB'],
  ['after 1.5 s', '200 KB'],
  ['after 1.5 s', '5 MB', 'ordinary'],
  ['paused for 1.5 s', '200 KB'],
  ['paused for 1.5 s', '5 MB'],
  ['stuck for 1.5 s', '200 KB'],
  ['stuck for 1.5 s', '5 MB'],
  ['paused for 6 s', '200 KB'],
  ['stuck for 6 s', '5 MB'],
]
const SOME_CONSUMERS = new Set([1, 3, 5, 7, 8, 12, 14, 16, 18])

function makesSense({ protocol, reader, volume, comes, buffers, answer }) {
  const dead = isDead({ comes })
  // A pause that is longer than all else.
  if (READERS[reader].stands === 6000 && !dead) return false
  // Part of the data is with the peer, which goes on sending it: not dead yet. A FIN waits behind it.
  if (buffers === 'ordinary' && comes !== 'RST' && comes !== 'RST by close') return false
  // Its own flow control stops the peer at 64 KB, and the socket is always read.
  if (protocol === 'http2' && volume === '5 MB') return false
  if (answer === 'complete' && volume === 'nothing') return false
  return true
}

export function allCells() {
  return PROTOCOLS.flatMap(({ events, full, ...protocol }) =>
    events.flatMap((comes) =>
      CONSUMERS.filter((_, i) => full || SOME_CONSUMERS.has(i)).map(
        ([reader, volume, buffers]) => ({
          ...protocol,
          comes,
          reader,
          volume,
          bytes: VOLUMES[volume],
          buffers: buffers ?? (comes.startsWith('link down') ? 'two-hosts' : 'large'),
        }),
      ),
    ),
  )
    .filter(makesSense)
    .map((cell) => ({ ...cell, name: nameOf(cell) }))
}

export function protocolOf({ protocol, major, tls, halfOpen, answer, close }) {
  const more = [tls && 'TLS', halfOpen && 'half open', answer, close && 'Connection: close']
  const said = more.filter(Boolean).join(', ')
  return `${protocol}${major ? ` ${major}` : ''}${said && ` (${said})`}`
}

function nameOf(cell) {
  const { comes, reader, volume, buffers } = cell
  const how = buffers === 'ordinary' ? `${volume}, ordinary buffers` : volume
  return `${protocolOf(cell)}; ${comes}; ${how}; ${reader === 'never' ? 'never read' : `read ${reader}`}`
}

/** A share that takes some seconds: each protocol, each event, each reader at least once. */
const SHORT = [
  'net; RST; 200 KB; never read',
  'net; RST; 200 KB; read a piece every 400 ms',
  'net; RST; 5 MB; read a piece every 400 ms',
  'net; RST; 5 MB; read stuck for 1.5 s',
  'net; RST by close; 200 KB; read paused for 1.5 s',
  'net; FIN; 200 KB; never read',
  'net; FIN, then RST; 200 KB; read a piece every 400 ms',
  'net; FIN, then RST; nothing; never read',
  'net; RST, then we write; 200 KB; never read',
  'net; FIN, then we write; 200 KB; never read',
  'net (half open); FIN, then RST; nothing; read promptly',
  'net (TLS); RST; 1 KB; never read',
  'net (TLS); RST; 5 MB; read a piece every 150 ms',
  'net (TLS); FIN, then RST; 200 KB; read paused for 1.5 s',
  'http (cut); RST; 200 KB; read after 1.5 s',
  'http (complete); RST by close; 5 MB; read a piece every 150 ms',
  'http server (cut); RST; 1 KB; never read',
  'http server (complete); RST; 5 MB; read a piece every 150 ms',
  'http2 (cut); RST; 200 KB; read a piece every 400 ms',
  'fetch (cut, Connection: close); RST; 5 MB, ordinary buffers; read after 1.5 s',
  'fetch (cut, Connection: close); RST; 200 KB; read after 1.5 s',
  'fetch (cut); RST; 5 MB; read a piece every 150 ms',
  'fetch (complete, Connection: close); FIN, then RST; 5 MB; read a piece every 150 ms',
  'ws; RST; 200 KB; read paused for 1.5 s',
  'ws; FIN, then RST; 200 KB; read a piece every 400 ms',
  'net; silence; 200 KB; never read',
  'net; silence, then we write; 200 KB; read paused for 1.5 s',
  'net (TLS); silence; 5 MB; read a piece every 150 ms',
  'http (cut); silence; nothing; read promptly',
  'fetch (cut); silence; 200 KB; read paused for 1.5 s',
  'ws; silence; 1 KB; never read',
  'net; link down, then we write; nothing; read promptly',
]

export function shortCells() {
  const byName = new Map(allCells().map((cell) => [cell.name, cell]))
  return SHORT.map((name) => {
    const cell = byName.get(name)
    if (cell === undefined) throw new Error(`There is no cell "${name}"`)
    return cell
  })
}
