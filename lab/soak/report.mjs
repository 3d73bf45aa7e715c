// What a soak prints, and what memory and descriptors it began and ended with.
import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { gc } from '../support/gc.mjs'

export async function holdings() {
  for (let i = 0; i < 5; i++) {
    await sleep(200)
    gc()
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heap: heapUsed + external, descriptors: readdirSync('/proc/self/fd').length }
}

const line = (...cells) =>
  console.log(cells.map((cell, i) => String(cell)[i < 2 ? 'padEnd' : 'padStart'](17)).join(' '))

/** Prints a line for each fate and state; gives back what is off, and how many died. */
export function table(results) {
  const groups = new Map()
  for (const result of results) {
    const name = `${result.fate}|${result.state ?? ''}`
    groups.set(name, [...(groups.get(name) ?? []), result])
  }
  line('fate', 'state', 'connections', 'as promised', 'first error', 'last error')
  for (const [name, group] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const right = group.filter(({ fault }) => fault === undefined)
    line(...name.split('|'), group.length, right.length, ...firstAndLast(group))
  }
  const faults = results
    .filter(({ fault }) => fault !== undefined)
    .map(
      ({ fate, state, slowReader, set, tls, ms, fault }) =>
        `${fate}, ${state ?? 'live'}, '${slowReader}', ${ms} ms, ${set} end set${tls ? ', TLS' : ''}: ${fault}`,
    )
  return { faults, died: results.filter(({ took }) => took !== undefined).length }
}

/** As parts of the time that was set: 70 % is promised as the earliest, a second beyond as the latest. */
function firstAndLast(group) {
  const died = group.filter(({ took }) => took !== undefined)
  if (died.length === 0) return ['', '']
  const first = Math.min(...died.map(({ took, ms }) => took / ms))
  const last = Math.max(...died.map(({ took, ms }) => took - ms))
  return [`${(100 * first).toFixed(0)} %`, `${last < 0 ? '' : '+'}${(last / 1000).toFixed(2)} s`]
}

const MIB = 2 ** 20
const inMiB = (bytes) => (bytes / MIB).toFixed(1)

/**
 * Bounds for what may be left after `count` connections, beyond a round of as many that
 * has warmed everything up.
 *
 * The heap is exact: a record of 200 bytes kept for each connection is found among 5000, a kept
 * socket among 300. Resident memory is not: OpenSSL's buffers leave the allocator
 * fragmented, by 50 KB for each TLS connection in a second round, with this library or without;
 * 20 KB for each is less than half of what an open connection takes. Descriptors are counted.
 */
const ALLOWED = {
  descriptors: () => 0,
  heap: (count) => 0.5 * MIB + 50 * count,
  rss: (count) => 24 * MIB + 20 * 1024 * count,
}

/** Prints what is left over; gives back what is off. */
export function leftOver(before, after, count) {
  line('left over', '', 'before', 'after', 'allowed')
  return Object.entries(ALLOWED).flatMap(([name, bound]) => {
    const allowed = before[name] + bound(count)
    const write = name === 'descriptors' ? String : inMiB
    const unit = name === 'descriptors' ? '' : ', MiB'
    line('', name + unit, write(before[name]), write(after[name]), write(allowed))
    return after[name] > allowed ? [`${name} ended at ${write(after[name])}`] : []
  })
}
