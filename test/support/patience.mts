/**
 * How long a test and a process of a test may take, in milliseconds: for what hangs, and for nothing else.
 * No test is about them, so they are generous: a machine may have much else to do.
 */
export const TEST_MS = 300_000
/** Sooner, so that what the process has printed is in the failure, and it is not left behind. */
export const PROCESS_MS = 270_000
