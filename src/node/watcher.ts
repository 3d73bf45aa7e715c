/**
 * This library's part of the event loop: it reports the end of connections that are not being
 * read, and has timers that fake timers do not replace. It exists only while it is needed.
 */
import { constants } from 'node:os'
import { type Native, native } from '../native.js'
import { IS_NODE } from './descriptor.js'
import { shared } from './environment.js'

/** Something that is watched. */
export interface Watched {
  /** The kernel has ended the connection that is watched under this ticket. */
  ended(ticket: number): void
}

export interface Watcher {
  /** Whether connections can be watched in this runtime. */
  readonly watches: boolean
  /** Runs the task after `ms` milliseconds; the returned function cancels it. Does not keep the process running. */
  after(ms: number, task: () => void): () => void
  /** Returns the ticket, or a (negative) errno if the kernel refuses. */
  watch(descriptor: number, watched: Watched): number
  unwatch(descriptor: number, watched: Watched): void
}

type Binding = Pick<Native, 'open' | 'shut' | 'watch' | 'setTimer' | 'now'>

/** Bun aborts the process when an add-on calls into libuv, and Deno's descriptors do not last. */
export function watcher(): Watcher {
  if (!IS_NODE) return withoutLibuv
  const ours = shared('watcher', onLibuv, native().binding)
  return ours.watches ? ours : withoutLibuv
}

/** See `shared` for why this function uses only its parameter. */
function onLibuv(binding: Binding): Watcher {
  const IDLE_MS = 1000
  /** Indexed by descriptor: they are small numbers. */
  const watched: (Watched | undefined)[] = []
  let count = 0
  let lastTicket = 0
  let waiting: { readonly due: number; readonly task: () => void }[] = []
  /** When the timer expires; -1 while tasks run, after which it is set again. */
  let expiry = Infinity
  let isOpen = false

  const open = (): boolean => {
    if (isOpen) return true
    isOpen = binding.open(notify) === 0
    if (isOpen) setTimer(binding.now() + IDLE_MS)
    return isOpen
  }
  const setTimer = (due: number): void => {
    if (due >= expiry) return
    expiry = due
    // With 0, libuv before 1.48 (Node 20) would run it in this same iteration of the loop.
    binding.setTimer(Math.max(1, due - binding.now()))
  }
  const expired = (): void => {
    const now = binding.now()
    const due = waiting.filter((each) => each.due <= now)
    waiting = waiting.filter((each) => each.due > now)
    expiry = -1
    let done = 0
    try {
      while (done < due.length) due[done++]?.task()
    } finally {
      // If a task has thrown, the others still run, at the next expiry.
      for (; done < due.length; done++) waiting.push(due[done] as (typeof due)[0])
      expiry = Infinity
      let next = Infinity
      for (const each of waiting) next = Math.min(next, each.due)
      if (next < Infinity) setTimer(next)
      else if (count === 0) {
        isOpen = false
        binding.shut()
      }
    }
  }
  const notify = (descriptor: number, ticket: number): void => {
    if (descriptor < 0) expired()
    else watched[descriptor]?.ended(ticket)
  }
  return {
    get watches() {
      return open()
    },
    after(ms, task) {
      if (!open()) return () => {}
      const due = binding.now() + ms
      const entry = { due, task }
      waiting.push(entry)
      setTimer(due)
      return () => {
        // It may be due already, and wait for other tasks to finish.
        entry.task = () => {}
        waiting = waiting.filter((each) => each !== entry)
        if (waiting.length === 0 && count === 0) setTimer(binding.now() + IDLE_MS)
      }
    },
    watch(descriptor, connection) {
      open()
      lastTicket = (lastTicket % 0x7fffffff) + 1
      const result = binding.watch(descriptor, lastTicket)
      if (result === 0) {
        if (watched[descriptor] === undefined) count++
        watched[descriptor] = connection
      }
      return result === 0 ? lastTicket : result
    },
    unwatch(descriptor, connection) {
      if (watched[descriptor] !== connection) return
      watched[descriptor] = undefined
      if (--count === 0) setTimer(binding.now() + IDLE_MS)
    },
  }
}

/** Read at load, before a test can replace them. */
const { setTimeout, clearTimeout } = globalThis

const withoutLibuv: Watcher = {
  watches: false,
  after(ms, task) {
    const timer = setTimeout(task, ms).unref()
    return () => clearTimeout(timer)
  },
  watch: () => -constants.errno.ENOSYS,
  unwatch() {},
}
