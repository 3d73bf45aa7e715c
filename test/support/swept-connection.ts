// A connection on which something waits, played out in time as Linux asks and hears, with
// the looks of src/connection/liveness.ts between. What must hold of the looks must hold in every one.
import {
  type Finding,
  isUndoubted,
  type Liveness,
  NOTHING,
  type Outstanding,
  observe,
  startsToWait,
} from '../../src/connection/liveness.js'
import type { SystemDefaults } from '../../src/kernel/system-defaults.js'

export interface Course {
  /**
   * What waits: behind a closed window (`probed`), in flight (`flying`), in flight when the window
   * closed (`stuck`), and the same where the kernel believes that window open (`looks open`).
   */
  readonly state: 'probed' | 'flying' | 'stuck' | 'looks open'
  readonly rtt: number
  /** Whether the nth question, from 0, and its answer arrive. */
  readonly answers: (nth: number) => boolean
  /** The peer sends something by itself this often, which is no answer; 0: never. */
  readonly every?: number
  readonly silence: number
  readonly host: SystemDefaults
  /** The time until the nth look; `undoubted` as the look before has found it. */
  readonly gap: (nth: number, undoubted: boolean) => number
  readonly until: number
}

export interface End {
  readonly peer: Finding['peer']
  /** Of the finding, or `until`; and of the last answer before. */
  readonly at: number
  readonly answered: number
  /** How many questions were asked since. */
  readonly unanswered: number
}

const LARGEST_RTO = 120_000

export function course({ state, rtt, answers, every = 0, silence, host, gap, until }: Course): End {
  let known: Liveness | undefined
  const rto = rtt + 200
  const flying = state === 'flying' || state === 'looks open'
  let timer = rto
  let asked = 0
  let nth = 0
  let unanswered = 0
  let timeouts = 0
  let acknowledged = 0
  let progress = 0
  let bare = 0
  let heard = 0
  let answered = 0
  const answersDue: number[] = []
  const next = { ask: rto, answer: Infinity, peer: every || Infinity, look: gap(0, true) }
  const bound = () => known?.rtoMax || LARGEST_RTO
  for (let look = 1; ; ) {
    next.answer = answersDue[0] ?? Infinity
    const now = Math.min(...Object.values(next))
    if (now >= until) return { peer: 'alive', at: until, answered, unanswered }
    if (now === next.answer) {
      answersDue.shift()
      heard = answered = now
      unanswered = 0
      if (state === 'flying') {
        acknowledged += 1000
        progress = now
        timeouts = 0
        timer = rto
      } else bare++
      // A retransmission timer goes on, unless there is progress.
      if (state === 'probed' || state === 'flying') next.ask = now + Math.min(timer, bound())
    } else if (now === next.peer) {
      heard = now
      next.peer += every
    } else if (now === next.ask) {
      asked++
      unanswered++
      if (flying) timeouts++
      timer = Math.min(2 * timer, state === 'probed' ? rto * 2 ** 10 : LARGEST_RTO, bound())
      next.ask = now + Math.min(timer, bound())
      if (answers(nth++)) answersDue.push(now + rtt)
    } else {
      const outstanding: Outstanding = {
        waits: 1,
        inFlight: state === 'probed' ? 0 : 1,
        window: flying ? 5000 : 0,
        sinceAck: now - heard,
        acknowledged,
        retransmitted: state === 'probed' ? 0 : asked,
        probes: state === 'probed' ? unanswered : 0,
        timeouts,
        bare,
        answerTime: rtt + 200,
        waited: state === 'probed' ? 0 : now - progress,
      }
      const undoubted = isUndoubted(known?.acknowledged ?? NOTHING, outstanding)
      next.look = now + gap(look++, undoubted)
      known ??= startsToWait(1000, outstanding, now + 1000)
      const { peer, rtoMax } = observe(known, outstanding, now + 1000, silence, host)
      known.rtoMax = rtoMax
      if (peer !== 'alive') return { peer, at: now, answered, unanswered }
    }
  }
}
