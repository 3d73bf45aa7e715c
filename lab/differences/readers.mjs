// Who reads: one function for Node's streams, one for the web's, one for ws.
import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { READERS } from './cells.mjs'

/** The time a reader of this cell lets pass before its piece number n; 0 for none. */
function pauseBefore({ reader }, n) {
  const { stands, slowPieces = 1 } = READERS[reader]
  const first = reader.startsWith('after') ? 0 : 1
  return n >= first && n < first + slowPieces ? stands : 0
}

/** Takes its pieces at once, but for the first. */
function stuck(stands, took) {
  let first = true
  return new Writable({
    highWaterMark: 16_384,
    write(piece, _, done) {
      took(piece.length)
      if (first) setTimeout(done, stands)
      else done()
      first = false
    },
  })
}

/** Resolves when the consumer has seen the end, of either kind; never without a reader. */
export async function readStream(stream, { cell, log, took }) {
  const { reader } = cell
  const { stands } = READERS[reader]
  if (reader === 'never') return
  if (reader.startsWith('stuck')) {
    stream.pipe(stuck(stands, took).on('finish', () => log('the writable has finished')))
  } else if (reader.startsWith('a piece')) {
    let n = 0
    try {
      for await (const piece of stream) {
        took(piece.length)
        await wait(pauseBefore(cell, ++n))
      }
      log('iteration complete')
    } catch (error) {
      log('iteration threw', error.code, error.message)
    }
  } else {
    // Paused before the first piece, or after it.
    if (reader.startsWith('after')) await wait(stands)
    let first = reader.startsWith('paused')
    stream.on('data', (piece) => {
      took(piece.length)
      if (!first) return
      first = false
      stream.pause()
      setTimeout(() => stream.resume(), stands)
    })
  }
}

export async function readBody(body, { cell, log, took }) {
  const { reader } = cell
  const { stands } = READERS[reader]
  if (reader === 'never') return
  try {
    if (reader.startsWith('stuck')) {
      await body.pipeTo(Writable.toWeb(stuck(stands, took)))
    } else {
      let n = 0
      await wait(pauseBefore(cell, n))
      for await (const piece of body) {
        took(piece.length)
        await wait(pauseBefore(cell, ++n))
      }
    }
    log('body complete')
  } catch (error) {
    log('body threw', error.name, error.message, error.cause?.code, error.cause?.message)
  }
}

export function readMessages(socket, { cell, took }) {
  const { reader } = cell
  if (reader === 'never' || reader.startsWith('after')) {
    socket.once('open', () => socket.pause())
    if (reader !== 'never') setTimeout(() => socket.resume(), READERS[reader].stands)
  }
  let n = 0
  socket.on('message', (piece) => {
    took(piece.length)
    const pause = pauseBefore(cell, ++n)
    if (pause === 0) return
    socket.pause()
    setTimeout(() => socket.resume(), pause)
  })
}

async function wait(ms) {
  if (ms > 0) await sleep(ms)
}
