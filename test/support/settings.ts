/** One set of settings that no default and no Node agrees with by chance. */
import type { Socket } from 'node:net'
import {
  getKeepalive,
  getUserTimeout,
  setKeepalive,
  setUserTimeout,
  type Target,
} from 'tcp-keepalive'
import { expect } from 'vitest'

export const KEEPALIVE = { idle: 61, interval: 11, count: 4 }
export const USER_TIMEOUT = 91_000

export function setAll(target: Target): void {
  setKeepalive(target, KEEPALIVE)
  setUserTimeout(target, USER_TIMEOUT)
}

export function settingsOf(socket: Socket) {
  return { ...getKeepalive(socket), userTimeout: getUserTimeout(socket) }
}

export const ALL_SET = { enabled: true, ...KEEPALIVE, userTimeout: USER_TIMEOUT }

export function expectAll(socket: Socket): void {
  expect(settingsOf(socket)).toEqual(ALL_SET)
}
