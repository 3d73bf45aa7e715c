// Tells when the kernel has given a connection up, also one that nobody reads.
//
// One per environment. It lives on the environment's own event loop, without a
// thread or a timer, and keeps no process alive.
#pragma once

#include <node_api.h>

#include "sockopt.h"

namespace keepalive {

class Watcher {
 public:
  // One pending notice: which descriptor, and the number under which it was
  // watched, because descriptors are reused at once.
  struct Notice {
    int descriptor;
    int ticket;
  };
  static constexpr int kMaxNotices = 64;
  using Notify = void (*)(void* context, const Notice* notices, int count);

  // Returns 0 and a watcher, or a negative errno.
  static int Open(napi_env env, Notify notify, void* context, Watcher** watcher);
  int Watch(Socket socket, int ticket);
  // The memory outlives this call until the event loop has let go of it.
  void Close(void (*closed)(void*), void* context);

 protected:
  Watcher() = default;
  ~Watcher() = default;
};

}  // namespace keepalive
