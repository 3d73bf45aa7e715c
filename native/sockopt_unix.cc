// What Linux, macOS and FreeBSD have in common.
#include "sockopt_unix.h"

#include <sys/ioctl.h>

#include <ctime>

#include "sockopt.h"

namespace keepalive {

int TakeError(int socket) {
  int error = 0;
  const int result = GetInt(socket, SOL_SOCKET, SO_ERROR, &error);
  return result < 0 ? result : error;
}

int CountUnread(int socket) {
  int count = 0;
  return ioctl(socket, FIONREAD, &count) == 0 ? count : -errno;
}

int64_t Milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace keepalive
