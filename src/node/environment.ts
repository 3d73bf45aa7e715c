/** What all copies of this package in one environment (the main thread, a worker) share. */
import { Socket } from 'node:net'
import { define } from './internals.js'

/**
 * The value that the first copy has made under this name. Test runners load a package once for
 * each of their files, in contexts of their own: a hook of each copy would keep its context, and
 * every connection would pass through all of them.
 *
 * @param make Uses its parameters and globals alone: a copy in another context compiles it anew
 * in the main one, because a function keeps the context that it was made in.
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
