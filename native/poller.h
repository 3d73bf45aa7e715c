// The platform-dependent part of the watcher: epoll or kqueue. libuv stops polling a socket that
// is not being read, and so misses its end. A separate poller is itself a descriptor that the
// event loop polls; it becomes readable when a connection has ended.
#pragma once

#include "sockopt.h"

namespace keepalive {

struct Notice {
  int descriptor;
  int ticket;
};
constexpr int kMaxNotices = 64;

// Returns the descriptor or a negative errno.
int OpenPoller();
void ClosePoller(int poller);
int AddToPoller(int poller, Socket socket, int ticket);
// Returns how many notices were written. The rest stay pending.
int TakeNotices(int poller, Notice* notices);

}  // namespace keepalive
