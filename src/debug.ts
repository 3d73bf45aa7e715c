import { type DebugLogger, debuglog } from 'node:util'

/** `NODE_DEBUG=tcp-keepalive` tells what was set, held and watched. */
export const debug: DebugLogger = debuglog('tcp-keepalive')
