/** TLS without certificates: a shared key is enough to have the real thing. */
import type { ConnectionOptions, TlsOptions } from 'node:tls'

const psk = Buffer.alloc(16, 7)

export const tlsServerOptions = {
  ciphers: 'PSK',
  pskCallback: () => psk,
} satisfies TlsOptions

export const tlsClientOptions = {
  ciphers: 'PSK',
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ psk, identity: 'test' }),
} satisfies ConnectionOptions
