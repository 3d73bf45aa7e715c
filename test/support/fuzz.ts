/** How much random input there is: a share of it in `npm test`, as much as is asked for in `npm run fuzz`. */
const { FUZZ_CASES, FUZZ_CALLS, FUZZ_SEED } = process.env

/** Cases for the public functions, all properties together. */
export const CASES = Number(FUZZ_CASES ?? 6000)
/** Calls of the raw binding. */
export const CALLS = Number(FUZZ_CALLS ?? 20_000)
/** Another one each time, and told when something fails. */
export const SEED = Number(FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
