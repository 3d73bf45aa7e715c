// Whether what the program saw with the library is what it sees without.
import { isDead, READERS } from './cells.mjs'

/** One that takes nothing for longer than this is not at work: it need not get the rest first. */
const AT_WORK_MS = 1000
const ENDS =
  /^end$|^iteration complete$|HPE_INVALID_EOF_STATE|other side closed|CONTENT_LENGTH_MISMATCH|aborted/
const DEATH = /\b(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)\b/

/**
 * `same`; `dead peer`: the library has an error where Node waits; `Node alone`: Node itself has made
 * that of the same death, without the library; `unnoticed`: it has none, as
 * Node; `other`: what must not be; `once`: the same, but it did not come again in more runs;
 * `broken`: the comparison itself failed.
 */
export function judge(cell, major, { plain, kernelAlone, outcomes }) {
  if (plain.some(({ problem }) => problem)) return 'broken'
  const verdicts = outcomes.map((outcome) => judgeOne(cell, major, plain, kernelAlone, outcome))
  const others = verdicts.filter((verdict) => verdict === 'other').length
  if (others > 0) return others === 1 && verdicts.length > 1 ? 'once' : 'other'
  return ['unnoticed', 'Node alone'].find((one) => verdicts.includes(one)) ?? verdicts[0]
}

function judgeOne(cell, major, plain, kernelAlone, outcome) {
  if (isDead(cell) && plain.some((waiting) => isDeath(cell, major, waiting, outcome)))
    return 'dead peer'
  if (isDead(cell) && isNodesOwn(kernelAlone, outcome)) return 'Node alone'
  if (!isSame(cell, plain, outcome)) return 'other'
  return isDead(cell) && !outcome.ended && isVisible(cell) ? 'unnoticed' : 'same'
}

/** Of a fetch whose body is not read, a program sees nothing. */
function isVisible({ protocol, reader }) {
  return !(reader === 'never' && (protocol === 'fetch' || protocol === 'undici'))
}

function isSame({ buffers, comes }, plain, outcome) {
  if (!plain.some((one) => textOf(one) === textOf(outcome))) return false
  const counts = plain.map(({ bytes }) => bytes)
  if (counts.includes(outcome.bytes)) return true
  const least = Math.min(...counts)
  // How much of 5 MB is on its way when the reset comes is chance: from 160 to 260 KB were seen.
  if (buffers === 'ordinary') return outcome.bytes >= 0.5 * least
  // How much the consumer has had when Node's own write fails is chance, too.
  if (comes.includes('we write')) return outcome.bytes >= 0.3 * least
  // Where an error and the reader race, Node alone does not deliver the same twice.
  return least < Math.max(...counts) && outcome.bytes >= 0.8 * least
}

/**
 * As Node ends it where the kernel has the same timeouts and the library is not there: when Node's
 * own read finds the error, its streams discard what they hold, and undici may fail an assertion.
 */
function isNodesOwn(kernelAlone, outcome) {
  const alike = kernelAlone.filter((one) => {
    if (one.ended) return textOf(one) === textOf(outcome)
    // After the assertion undici alone waits for ever.
    const isUncaught = one.log.some((line) => line.startsWith('un'))
    return isUncaught && one.log.every((line, i) => line === outcome.log[i])
  })
  const least = Math.min(...alike.map(({ bytes }) => bytes))
  return alike.length > 0 && outcome.bytes >= 0.8 * least
}

/** Node waits still; with the library all that, nothing lost, and then the death. */
function isDeath({ reader }, major, waiting, outcome) {
  if (waiting.ended || !outcome.ended || outcome.problem) return false
  const begins = waiting.log.every((line, i) => line === outcome.log[i])
  const more = outcome.log.slice(waiting.log.length)
  // ws keeps the error of a connection that stands to itself.
  const tells =
    DEATH.test(more.join()) || more.includes('close 1006') || endsCleanly(major, outcome)
  const uncaught = more.some((line) => line.startsWith('un'))
  const writes = waiting.writes.every((line, i) => line === outcome.writes[i])
  const all = outcome.bytes >= waiting.bytes || READERS[reader].stands > AT_WORK_MS
  return begins && writes && tells && !uncaught && all
}

/**
 * libuv up to Node 22 takes data and a death that it finds in one read for the end, whoever set
 * the timeout: all data has come, and no error.
 */
function endsCleanly(major, { log }) {
  return major < 24 && log.some((line) => ENDS.test(line))
}

/** What a program saw, in words. */
export function textOf({ log, writes, ended, problem }) {
  return problem ?? [...log, ...(ended ? [] : ['still waiting']), ...writes].join('; ')
}
