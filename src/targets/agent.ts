import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Agent } from 'node:http'
import { Socket } from 'node:net'
import { invalidType } from '../errors.js'
import { handleOf } from '../node/handle.js'
import { define } from '../node/internals.js'
import { merge } from '../options/merge.js'
import type { Settings } from '../options/settings.js'
import { orDestroy } from './after-write.js'
import { applyToSocket } from './socket.js'

type Created = (error: Error | null, socket?: unknown) => void

/** The methods through which every socket of an agent passes, its own or a subclass's. */
interface AgentMethods {
  createSocket(request: unknown, options: unknown, callback: Created): void
  createConnection(options: unknown, callback?: Created): unknown
  reuseSocket(socket: unknown, request: unknown): void
  /** The method that subclasses of the package agent-base implement: agents that use a proxy. */
  connect?(...args: unknown[]): unknown
}

interface AgentState {
  settings: Settings
  /** How often the agent was set. Settings cannot be compared instead: equal ones are one object. */
  round: number
  /** The round that each socket was last set in, so that its own later settings are kept. */
  applied: WeakMap<object, number>
}

const agents = new WeakMap<Agent, AgentState>()

/**
 * Sets each socket that the agent opens from now on. Sockets in use are set at once, because
 * they may go directly to a waiting request; idle ones are set on their next use.
 */
export function applyToAgent(agent: Agent, settings: Settings): void {
  const known = agents.get(agent)
  const state = known ?? { settings, round: 1, applied: new WeakMap() }
  if (known === undefined) {
    agents.set(agent, state)
    overrideMethods(agent, state)
  } else {
    known.settings = merge(known.settings, settings)
    known.round++
  }
  for (const sockets of Object.values(agent.sockets)) {
    for (const socket of sockets ?? []) if (!socket.destroyed) setOnce(state, socket)
  }
}

function overrideMethods(agent: Agent, state: AgentState): void {
  const { createSocket, createConnection, reuseSocket, connect } = agent as unknown as AgentMethods
  override(agent, 'createSocket', (request, options, callback) => {
    const created: Created = (error, socket) => {
      if (!error && socket !== undefined) setOnce(state, socket)
      callback(error, socket)
    }
    Reflect.apply(createSocket, agent, [request, options, created])
  })
  // A tunnel through a proxy becomes a socket only once it is established; its connect is seen here.
  override(agent, 'createConnection', (...args) => {
    const socket = opening(state, () => Reflect.apply(createConnection, agent, args))
    if (socket instanceof Socket) setOnce(state, socket)
    return socket
  })
  override(agent, 'reuseSocket', (socket, request) => {
    setOnce(state, socket)
    Reflect.apply(reuseSocket, agent, [socket, request])
  })
  if (typeof connect !== 'function') return
  override(agent, 'connect', (...args) => opening(state, () => Reflect.apply(connect, agent, args)))
}

/**
 * An agent that uses a proxy opens a socket, sends a request to the proxy, and has a connection
 * only after the answer. The socket that the method opens is set when the method returns.
 */
function opening(state: AgentState, method: () => unknown): unknown {
  let opened: Socket | undefined
  const seen = (message: unknown): void => {
    opened ??= (message as { socket: Socket }).socket
  }
  subscribe('net.client.socket', seen)
  try {
    const result = method()
    // The first socket leads to the proxy. If a socket is returned, others are not the agent's.
    if (!(result instanceof Socket) && opened !== undefined && handleOf(opened)) {
      setOnce(state, opened)
    }
    return result
  } finally {
    unsubscribe('net.client.socket', seen)
  }
}

/** Sets a socket, unless it was set in this round already. */
function setOnce({ settings, round, applied }: AgentState, socket: unknown): void {
  if (!(socket instanceof Socket)) {
    refuse(socket)
    return
  }
  if (applied.get(socket) === round) return
  applied.set(socket, round)
  orDestroy(socket, () => applyToSocket(socket, settings))
}

/** An agent's `createConnection` may return any stream, which has no TCP options. */
function refuse(stream: unknown): void {
  const { destroy } = stream as { destroy?: (error: Error) => void }
  const error = invalidType("the agent's socket", 'a net.Socket', stream)
  process.nextTick(() => destroy?.call(stream, error))
}

function override<K extends keyof AgentMethods>(
  agent: Agent,
  key: K,
  value: AgentMethods[K],
): void {
  define(agent, key, value)
}
