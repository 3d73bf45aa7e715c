// The part of watcher_unix.cc that differs: epoll or kqueue. It is a descriptor
// which the event loop polls, and which is readable when a connection has died.
#pragma once

#include "watcher.h"

namespace keepalive {

// Returns the descriptor or a negative errno.
int OpenPoller();
int AddToPoller(int poller, int socket, int ticket);
// Returns how many notices were written. What does not fit stays pending.
int TakeNotices(int poller, Watcher::Notice* notices);

}  // namespace keepalive
