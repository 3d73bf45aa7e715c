// A second epoll instance may contain the same descriptors as libuv's. EPOLLERR and
// EPOLLHUP are always reported, so no other events are requested, and a healthy
// connection causes no events at all. Edge-triggered, because one notice per connection
// is enough. A closed descriptor is removed automatically.
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "poller.h"
#include "sockopt_unix.h"

namespace keepalive {

int OpenPoller() {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  return epoll < 0 ? -errno : epoll;
}

void ClosePoller(int poller) { close(poller); }

int AddToPoller(int poller, int socket, int ticket) {
  // Only sockets: if this epoll contained libuv's own, libuv would abort the process.
  int type = 0;
  const int result = GetInt(socket, SOL_SOCKET, SO_TYPE, &type);
  if (result < 0) return result;
  epoll_event event{};
  event.events = EPOLLET;
  event.data.u64 =
      static_cast<uint64_t>(static_cast<uint32_t>(ticket)) << 32 | static_cast<uint32_t>(socket);
  return epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event) == 0 ? 0 : -errno;
}

int TakeNotices(int poller, Notice* notices) {
  epoll_event events[kMaxNotices];
  const int count = epoll_wait(poller, events, kMaxNotices, 0);
  for (int i = 0; i < count; i++) {
    notices[i].descriptor = static_cast<int>(events[i].data.u64 & 0xffffffff);
    notices[i].ticket = static_cast<int>(events[i].data.u64 >> 32);
  }
  return count;
}

}  // namespace keepalive
