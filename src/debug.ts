import { type DebugLogger, debuglog } from 'node:util'

/** `NODE_DEBUG=tcp-keepalive` logs what was set, locked and watched. */
export const debug: DebugLogger = debuglog('tcp-keepalive')
