// Required by an example (`--require`): how long it ran, in turns of its event loop, is the last line on its stderr.
const { LoopClock } = require('./loop-clock.cjs')

const clock = new LoopClock()
process.on('exit', () => process.stderr.write(`${Math.round(clock.since())}`))
