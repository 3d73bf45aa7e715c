/** What all copies of this package in one environment (the main thread, a worker) share. */
import { Socket } from 'node:net'
import { define } from './internals.js'

/**
 * Returns the value that the first copy has created under this name. Test runners load a package
 * once for each test file, each in its own context. If every copy had its own hook, all those
 * contexts would stay in memory, and every connection would pass through all hooks.
 *
 * @param make Must use only its parameters and globals: a copy in another context compiles it
 * again in the main one, because a function keeps its context in memory.
 */
export function shared<Value, Parameters extends unknown[]>(
  name: string,
  make: (...parameters: Parameters) => Value,
  ...parameters: Parameters
): Value {
  const key = Symbol.for(`tcp-keepalive.${name}.1`)
  const { prototype } = Socket as unknown as { prototype: Record<symbol, Value | undefined> }
  const known = prototype[key]
  if (known !== undefined) return known
  const value = inMainContext(make)(...parameters)
  define(prototype, key, value)
  return value
}

function inMainContext<F>(make: F): F {
  if (Socket instanceof Function) return make
  const { runInThisContext } = require('node:vm') as typeof import('node:vm')
  return runInThisContext(`'use strict'; (${make})`) as F
}
