// The part of the watcher that differs: epoll or kqueue. libuv stops polling a socket that is not
// being read, and so misses its end. A poller of our own is itself a descriptor that the event
// loop polls; it is readable when a connection has ended.
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
// Returns how many notices were written. What does not fit stays pending.
int TakeNotices(int poller, Notice* notices);

}  // namespace keepalive
