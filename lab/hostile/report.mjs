// Prediction beside measurement, whether they agree, and docs/hostile-network.md.
import { readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { isDeadPeerError } from '../../dist/index.js'
import { inWords, seconds } from '../support/words.mjs'
import { document, longPart } from './document.mjs'
import { closedWindowLoss, idleLoss } from './theory.mjs'

export function judge(row, result) {
  if (result.problem) return { fine: false }
  return row.many === undefined ? judgeOne(row, result) : judgeCrowd(row, result)
}

/** Of an established connection: silence, or the ICMP error that came before it. */
const VERDICTS = [
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ECONNREFUSED',
  'EACCES',
  'ENOPROTOOPT',
]

/**
 * The error that was predicted, in its time. A reset is an answer, and earlier; what ends by
 * silence has the window of setDeadPeerTimeout. ARP adds half a second to what it knows.
 */
function judgeOne({ set, code, reset, event }, { predicted, measured, error }) {
  const expected = [code ?? VERDICTS].flat()
  const right =
    error !== undefined &&
    expected.includes(error.code) &&
    ['read', 'write'].includes(error.syscall) &&
    isDeadPeerError(error) === VERDICTS.includes(error.code)
  const least = reset ? 0 : 0.7 * (set.ms ?? predicted)
  const most = Math.max(predicted, set.ms ?? 0) + 1000 + (event === undefined ? 0 : 500)
  return { fine: right && measured >= least && measured <= most }
}

function judgeCrowd(row, result) {
  const { many, all, none, state } = row
  const { errors, working } = result
  const [least, most] = all ? [many, many] : none ? [0, 0] : EXPECTED[state](row, result)
  const verdicts = errors.every((error) => isDeadPeerError(error) && error.code === 'ETIMEDOUT')
  const complete = errors.length + working === many
  const likely = notTooFew(errors.length, least) && notTooMany(errors.length, most)
  return { least, most, fine: verdicts && complete && likely }
}

/** How many of them are timed out by chance: at least, at most. */
const EXPECTED = {
  idle({ many, path, seconds }, { plan }) {
    const expected = many * idleLoss(plan, path, seconds)
    return [expected, expected]
  },
  /** With each transfer's own RTO. */
  transfers: (_, { expected }) => [expected, expected],
  /** Whether a window closes on data in flight is chance, too. */
  'slow reader': ({ many, path, rtt, seconds }, { plan }) =>
    [false, true].map(
      (uponData) => many * closedWindowLoss(plan, path, seconds, uponData, 200 + rtt),
    ),
}

/** Poisson: that there are so many or fewer. */
function atMost(count, mean) {
  let term = Math.exp(-mean)
  let sum = 0
  for (let i = 0; i <= count; i++) {
    sum += term
    term *= mean / (i + 1)
  }
  return sum
}

/** Theory may be off by a fifth; beyond that, by chance not one row in ten thousand is off. */
const SLACK = 1.2
const notTooFew = (count, least) => atMost(count, least / SLACK) > 1e-4
const notTooMany = (count, most) => count === 0 || 1 - atMost(count - 1, most * SLACK) > 1e-4

/** A row in words: state, set, what happens, predicted, measured, and more. */
export function cellsOf(result) {
  const { row, problem } = result
  const begin = [row.state, inWords(row.set)]
  if (problem) return [...begin, '', '', '', problem]
  return row.many === undefined ? [...begin, ...one(result)] : [...begin, ...many(result)]
}

function one({ row, predicted, measured, error }) {
  return [
    row.event ?? `IPv${row.family}, ${row.answer}`,
    `${row.reset ? 'before ' : ''}${seconds(predicted)} s`,
    measured === undefined ? 'alive' : `${seconds(measured)} s`,
    error === undefined ? '' : `${error.code}, ${error.syscall}`,
  ]
}

const count = (value) =>
  value === 0 ? '0' : value < 0.05 ? '< 0.05' : value.toFixed(value < 10 ? 1 : 0)

function many({ row, least, most, transfers, stuck, errors }) {
  const { title, loss, ours, theirs, jitter, duplicate } = row.path
  const how = [
    title,
    loss && `loss ${loss * 100} %`,
    ours && `${ours * 100} % of ours lost`,
    theirs && `${theirs * 100} % of theirs lost`,
    row.rtt > 100 && `RTT ${row.rtt} ms`,
    jitter && `reordering within ${jitter * 1000} ms`,
    duplicate && `duplicates ${duplicate * 100} %`,
  ]
  return [
    how.filter(Boolean).join(', '),
    count(least) === count(most) ? count(most) : `${count(least)} to ${count(most)}`,
    String(errors.length),
    `of ${row.many}${transfers ? `, ${transfers} transfers` : ''}${stuck ? `, data stuck in ${stuck}` : ''}`,
  ]
}

const WIDTHS = [12, 38, 50, 13, 8, 0]

export function line({ fine, cells }) {
  const padded = cells.map((cell, i) =>
    i === 3 || i === 4 ? cell.padStart(WIDTHS[i]) : cell.padEnd(WIDTHS[i]),
  )
  return `${fine ? '  ' : '! '}${padded.join(' ')}`
}

const file = new URL('../../docs/hostile-network.md', import.meta.url)
const where = () => `Linux ${release().split('-')[0]} with Node ${process.version}`
const LONG = /<!-- long -->[\s\S]*<!-- \/long -->/

/** The part of the ten minutes stays as it was. */
export function write(results, links) {
  const [long = ''] = LONG.exec(readFileSync(file, 'utf8')) ?? []
  writeFileSync(file, document(results, links, where(), long))
}

/** That part alone. */
export function writeLong(results, links) {
  const part = `<!-- long -->\n${longPart(results, links, where())}\n<!-- /long -->`
  writeFileSync(
    file,
    readFileSync(file, 'utf8').replace(LONG, () => part),
  )
}
