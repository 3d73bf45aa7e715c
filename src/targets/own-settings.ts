/** The own settings of a socket: for a descriptor that does not exist yet, and for each later one. */
import type { Socket } from 'node:net'
import { Connection } from '../connection/connection.js'
import { NEEDS_CONNECTION } from '../node/descriptor.js'
import type { ConnectRequest } from '../node/hooks.js'
import { hang, hook, hooksOf, type SocketHooks } from '../node/hooks.js'
import type { TcpHandle } from '../node/internals.js'
import { merge } from '../options/merge.js'
import { forConnect, type Settings, UNTOUCHED } from '../options/settings.js'
import { write } from '../options/write.js'
import { boundConnect, connectBegan, logConnect, orDestroy, takeEffect } from './after-write.js'

export class OwnSettings implements SocketHooks {
  settings: Settings = UNTOUCHED

  static of(socket: Socket): Settings | undefined {
    return hooksOf<OwnSettings>(socket)?.settings
  }

  /** Returns whether these are the socket's first settings. */
  static add(socket: Socket, settings: Settings): boolean {
    const known = hooksOf<OwnSettings>(socket)
    const own = known ?? new OwnSettings()
    own.settings = merge(own.settings, settings)
    if (known !== undefined) return false
    hook()
    hang(socket, own)
    return true
  }

  connecting(handle: TcpHandle, socket: Socket, request: ConnectRequest): void {
    orDestroy(socket, () => {
      // On Windows there is no descriptor yet.
      if (NEEDS_CONNECTION) {
        boundConnect(Connection.at(handle, socket), request, () => this.settings.connectTimeout)
        return
      }
      write(handle, forConnect(this.settings))
      const connection = Connection.at(handle, socket)
      takeEffect(connection, this.settings, 'a setter')
      connectBegan(connection, request, orDestroy)
      logConnect(connection, request)
    })
  }
}
