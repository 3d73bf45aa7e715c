import type { Agent } from 'node:http'
import { Socket } from 'node:net'
import { invalidType } from '../errors.js'
import { merge, type Settings } from '../settings.js'
import { applyToSocket, orDestroy } from './socket.js'

/** The methods through which every socket of an agent passes, its own or a subclass's. */
interface AgentMethods {
  createSocket(
    request: unknown,
    options: unknown,
    callback: (error: Error | null, socket?: Socket) => void,
  ): void
  reuseSocket(socket: Socket, request: unknown): void
}

const agents = new WeakMap<Agent, { settings: Settings }>()

/** Sets each socket that the agent opens or takes from its pool from now on. */
export function applyToAgent(agent: Agent, settings: Settings): void {
  const known = agents.get(agent)
  if (known !== undefined) {
    known.settings = merge(known.settings, settings)
    return
  }
  const record = { settings }
  agents.set(agent, record)
  const set = (socket: unknown): void => {
    if (socket instanceof Socket) orDestroy(socket, () => applyToSocket(socket, record.settings))
    else refuse(socket)
  }
  const { createSocket, reuseSocket } = agent as unknown as AgentMethods
  define(agent, 'createSocket', (request, options, callback) => {
    Reflect.apply(createSocket, agent, [
      request,
      options,
      (error: Error | null, socket?: Socket) => {
        if (!error && socket !== undefined) set(socket)
        callback(error, socket)
      },
    ])
  })
  define(agent, 'reuseSocket', (socket, request) => {
    set(socket)
    Reflect.apply(reuseSocket, agent, [socket, request])
  })
}

/** An agent's `createConnection` may give any stream; it has no TCP options. */
function refuse(stream: unknown): void {
  const { destroy } = stream as { destroy?: (error: Error) => void }
  const error = invalidType("the agent's socket", 'a net.Socket', stream)
  process.nextTick(() => destroy?.call(stream, error))
}

function define<K extends keyof AgentMethods>(agent: Agent, key: K, value: AgentMethods[K]): void {
  Object.defineProperty(agent, key, { value, writable: true, configurable: true })
}
