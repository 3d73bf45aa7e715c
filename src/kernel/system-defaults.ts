import { readFileSync } from 'node:fs'

/**
 * What this host's kernel uses where a socket sets nothing. A field that the
 * host does not tell (another system, an older kernel, no procfs) is absent.
 */
export interface SystemDefaults {
  /** **Seconds** until the first keepalive probe: net.ipv4.tcp_keepalive_time, 7200 unless configured. */
  readonly idle?: number
  /** **Seconds** between probes: net.ipv4.tcp_keepalive_intvl, 75 unless configured. */
  readonly interval?: number
  /** **Probes**: net.ipv4.tcp_keepalive_probes, 9 unless configured. */
  readonly count?: number
  /**
   * **Retransmissions** of data that nobody acknowledges: net.ipv4.tcp_retries2,
   * 15 unless configured, which is about 924 s.
   */
  readonly retries2?: number
  /** **Retransmissions** of a SYN: net.ipv4.tcp_syn_retries, 6 unless configured. */
  readonly synRetries?: number
  /**
   * SYN **retransmissions** of equal distance that come first and on top:
   * net.ipv4.tcp_syn_linear_timeouts, 4 unless configured, Linux 6.5 and newer.
   */
  readonly synLinearTimeouts?: number
  /**
   * **Milliseconds**, the least retransmission timeout: net.ipv4.tcp_rto_min_us,
   * 200 unless configured, Linux 6.11 and newer.
   */
  readonly rtoMin?: number
  /**
   * **Milliseconds** between retransmissions or window probes at most:
   * net.ipv4.tcp_rto_max_ms, 120000 unless configured. It came with the socket
   * option TCP_RTO_MAX_MS (Linux 6.15), so its presence tells of both.
   */
  readonly rtoMax?: number
}

const FILES: Record<keyof SystemDefaults, string> = {
  idle: 'tcp_keepalive_time',
  interval: 'tcp_keepalive_intvl',
  count: 'tcp_keepalive_probes',
  retries2: 'tcp_retries2',
  synRetries: 'tcp_syn_retries',
  synLinearTimeouts: 'tcp_syn_linear_timeouts',
  rtoMin: 'tcp_rto_min_us',
  rtoMax: 'tcp_rto_max_ms',
}

/**
 * Reads what this host's kernel uses where a socket sets nothing, so that a
 * program can log or refuse a host that was never configured. Nothing is
 * cached: the settings are those of this moment and of this network namespace.
 *
 * Writing them is not this library's business.
 *
 * @throws Nothing.
 * @platform Linux. Elsewhere, and where procfs does not tell, the fields are absent.
 * @see the kernel's Documentation/networking/ip-sysctl.rst; tcp(7)
 *
 * @example
 * const { idle = 7200 } = systemDefaults()
 * if (idle > 600) console.warn('keepalive begins after', idle, 'seconds')
 */
export function systemDefaults(): SystemDefaults {
  return readDefaults('/proc/sys/net/ipv4')
}

let host: SystemDefaults | undefined

/** As `systemDefaults`, read once: as soon as it can be read, for which a descriptor must be free. */
export function hostDefaults(): SystemDefaults {
  if (host !== undefined) return host
  const defaults = systemDefaults()
  if (defaults.idle !== undefined) host = defaults
  return defaults
}

/** As `systemDefaults`, from another folder: the tests'. */
export function readDefaults(folder: string): SystemDefaults {
  const defaults: { -readonly [K in keyof SystemDefaults]: number } = {}
  for (const field of Object.keys(FILES) as (keyof SystemDefaults)[]) {
    const value = readNumber(`${folder}/${FILES[field]}`)
    if (value !== undefined) defaults[field] = field === 'rtoMin' ? value / 1000 : value
  }
  return defaults
}

function readNumber(file: string): number | undefined {
  let text: string
  try {
    text = readFileSync(file, 'latin1')
  } catch {
    return undefined
  }
  const value = Number(text)
  return text.trim() !== '' && Number.isFinite(value) ? value : undefined
}
