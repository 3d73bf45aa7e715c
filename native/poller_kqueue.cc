// A second kqueue may contain the same descriptors as libuv's. There is no filter
// for errors only, so this uses the read filter with a low-water mark that no amount
// of data reaches. macOS limits the mark to the size of the receive buffer, so a full
// buffer is reported, too, once, and is ignored below. Edge-triggered (EV_CLEAR),
// because the peer's FIN (EV_EOF without an error) is reported as well, and a timeout
// can still follow it. A closed descriptor is removed automatically.
#include <fcntl.h>
#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>

#include "poller.h"

namespace keepalive {

int OpenPoller() {
  const int queue = kqueue();
  if (queue < 0) return -errno;
  fcntl(queue, F_SETFD, FD_CLOEXEC);
  return queue;
}

void ClosePoller(int poller) { close(poller); }

int AddToPoller(int poller, int socket, int ticket) {
  struct kevent change;
  EV_SET(&change, static_cast<uintptr_t>(socket), EVFILT_READ, EV_ADD | EV_CLEAR, NOTE_LOWAT,
         INT_MAX, reinterpret_cast<void*>(static_cast<intptr_t>(ticket)));
  return kevent(poller, &change, 1, nullptr, 0, nullptr) == 0 ? 0 : -errno;
}

int TakeNotices(int poller, Notice* notices) {
  struct kevent events[kMaxNotices];
  const timespec now{};
  const int count = kevent(poller, nullptr, 0, events, kMaxNotices, &now);
  int taken = 0;
  for (int i = 0; i < count; i++) {
    // With EV_EOF, fflags is the socket's error. Node reports resets.
    const uint32_t error = events[i].fflags;
    if ((events[i].flags & EV_EOF) == 0 || error == 0 || error == ECONNRESET || error == EPIPE)
      continue;
    notices[taken].descriptor = static_cast<int>(events[i].ident);
    notices[taken].ticket = static_cast<int>(reinterpret_cast<intptr_t>(events[i].udata));
    taken++;
  }
  return taken;
}

}  // namespace keepalive
