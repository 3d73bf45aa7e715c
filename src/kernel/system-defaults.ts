import { readFileSync } from 'node:fs'

/**
 * What this host's kernel uses for a socket without settings of its own. A field that
 * cannot be read (another system, an older kernel, no procfs) is absent.
 */
export interface SystemDefaults {
  /** **Seconds** until the first keepalive probe: net.ipv4.tcp_keepalive_time, by default 7200. */
  readonly idle?: number
  /** **Seconds** between probes: net.ipv4.tcp_keepalive_intvl, by default 75. */
  readonly interval?: number
  /** **Probes**: net.ipv4.tcp_keepalive_probes, by default 9. */
  readonly count?: number
  /**
   * **Retransmissions** of unacknowledged data: net.ipv4.tcp_retries2, by default 15,
   * which takes about 924 s.
   */
  readonly retries2?: number
  /** **Retransmissions** of a SYN: net.ipv4.tcp_syn_retries, by default 6. */
  readonly synRetries?: number
  /**
   * Additional SYN **retransmissions** at equal intervals, before the intervals double:
   * net.ipv4.tcp_syn_linear_timeouts, by default 4, Linux 6.5 and newer.
   */
  readonly synLinearTimeouts?: number
  /**
   * **Milliseconds**, the minimum retransmission timeout: net.ipv4.tcp_rto_min_us,
   * by default 200, Linux 6.11 and newer.
   */
  readonly rtoMin?: number
  /**
   * **Milliseconds**, the maximum interval between retransmissions or window probes:
   * net.ipv4.tcp_rto_max_ms, by default 120000. Linux 6.15 added it together with the socket
   * option TCP_RTO_MAX_MS, so if it is present, both are supported.
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
 * Reads what this host's kernel uses for a socket without settings of its own, so that a
 * program can log it, or refuse to run on a host that was never configured. Nothing is
 * cached: the values are the current ones, of the network namespace of this process.
 *
 * This library never writes them.
 *
 * @throws Nothing.
 * @platform Linux. Elsewhere, and without procfs, the fields are absent.
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

/** As `systemDefaults`, cached once it could be read: that fails while no descriptor is free. */
export function hostDefaults(): SystemDefaults {
  if (host !== undefined) return host
  const defaults = systemDefaults()
  if (defaults.idle !== undefined) host = defaults
  return defaults
}

/** As `systemDefaults`, from another folder: for tests. */
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
