#pragma once

#include <sys/socket.h>

#include <cerrno>

#include "sockopt.h"

namespace keepalive {

inline int SetInt(int socket, int level, int name, int value) {
  return setsockopt(socket, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

inline int GetInt(int socket, int level, int name, int* value) {
  socklen_t length = sizeof *value;
  return getsockopt(socket, level, name, value, &length) == 0 ? 0 : -errno;
}

// macOS and FreeBSD: the options are in the file of each system.
struct BsdOption {
  int level;
  int name;  // kNoSuchOption where the system lacks it
};
constexpr int kNoSuchOption = -1;
extern const BsdOption kBsdOptions[kOptionCount];
// The option of IPPROTO_TCP that bounds the connect, which the user timeout does not do there.
extern const int kConnectTimeout;
// Whether this refusal means that the connection has ended.
bool HasEnded(int error);

}  // namespace keepalive
