import { debuglog } from 'node:util'

/** `NODE_DEBUG=tcp-keepalive` tells what was set, held and watched. */
export const debug: (message: string, ...values: unknown[]) => void = debuglog('tcp-keepalive')
