// Windows: Node does not expose the SOCKET below a net.Socket (`_handle.fd` is -1).
#pragma once

#include <node_api.h>

#include "sockopt.h"

namespace keepalive {

// Finds the one TCP handle of this environment's event loop that has these two
// addresses, and returns its SOCKET. A listener has no remote one: remote_address is "".
// Returns 0, or a negative errno: ENOENT if there is none.
int FindSocket(napi_env env, const char* local_address, int local_port, const char* remote_address,
               int remote_port, Socket* socket);

}  // namespace keepalive
