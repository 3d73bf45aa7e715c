// Prediction beside measurement, whether they agree, and docs/hostile-network.md.
import { writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { isDeadPeerError } from '../../dist/index.js'
import { inWords, seconds } from '../conformance/report.mjs'
import { document } from './document.mjs'
import { closedWindowLoss, idleLoss, transferLoss } from './theory.mjs'

export function judge(row, result) {
  if (result.problem) return { fine: false }
  return row.many === undefined ? judgeOne(row, result) : judgeCrowd(row, result)
}

/**
 * The error that was predicted, in its time. A reset is an answer, and earlier; what ends by
 * silence has the window of setDeadPeerTimeout. ARP adds half a second to what it knows.
 */
function judgeOne({ set, code, reset, event }, { predicted, measured, error }) {
  const expected = code === undefined ? ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'] : [code]
  const right =
    error !== undefined &&
    expected.includes(error.code) &&
    error.syscall === 'read' &&
    isDeadPeerError(error) !== (reset ?? false)
  const least = reset ? 0 : 0.7 * (set.ms ?? predicted)
  const most = Math.max(predicted, set.ms ?? 0) + 1000 + (event === undefined ? 0 : 500)
  return { fine: right && measured >= least && measured <= most }
}

function judgeCrowd(row, result) {
  const { many, all, none, state } = row
  const { errors, working } = result
  const expected = all ? many : none ? 0 : EXPECTED[state](row, result)
  const verdicts = errors.every((error) => isDeadPeerError(error) && error.code === 'ETIMEDOUT')
  const complete = errors.length + working === many
  return { expected, fine: verdicts && complete && likely(errors.length, expected, SLACK[state]) }
}

const EXPECTED = {
  idle: ({ many, path, seconds }, { plan }) => many * idleLoss(plan, path.loss, seconds),
  transfers: ({ path: { loss } }, { plan, path, transfers }) =>
    transfers * transferLoss(plan, path, loss),
  'slow reader': ({ many, path, seconds }, { plan }) =>
    many * closedWindowLoss(plan, path.loss, seconds),
}

/**
 * How far theory may be off, as a factor: the RTO follows the path's delays, and a window
 * that has closed upon data in flight is asked less often.
 */
const SLACK = { idle: 1.1, transfers: 1.4, 'slow reader': 2, talking: 1 }

/** Whether a count belongs to an expectation: by chance, not one row in ten thousand is off. */
function likely(count, expected, slack) {
  const atMost = (n, mean) => {
    let term = Math.exp(-mean)
    let sum = 0
    for (let i = 0; i <= n; i++) {
      sum += term
      term *= mean / (i + 1)
    }
    return sum
  }
  const enough = 1 - atMost(count - 1, expected * slack) > 1e-4
  return (count === 0 || enough) && atMost(count, expected / slack) > 1e-4
}

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

function many({ row, expected, transfers, errors }) {
  const { title, loss, jitter, duplicate } = row.path
  const how = [
    title,
    loss && `loss ${loss * 100} %`,
    row.rtt > 100 && `RTT ${row.rtt} ms`,
    jitter && `reordering within ${jitter * 1000} ms`,
    duplicate && `duplicates ${duplicate * 100} %`,
  ]
  return [
    how.filter(Boolean).join(', '),
    count(expected),
    String(errors.length),
    `of ${row.many}${transfers ? `, ${transfers} transfers` : ''}`,
  ]
}

const WIDTHS = [12, 38, 50, 13, 8, 0]

export function line({ fine, cells }) {
  const padded = cells.map((cell, i) =>
    i === 3 || i === 4 ? cell.padStart(WIDTHS[i]) : cell.padEnd(WIDTHS[i]),
  )
  return `${fine ? '  ' : '! '}${padded.join(' ')}`
}

export function write(results) {
  const file = new URL('../../docs/hostile-network.md', import.meta.url)
  writeFileSync(file, document(results, `Linux ${release()} with Node ${process.version}`))
}
