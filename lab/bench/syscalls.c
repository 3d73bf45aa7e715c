// The system calls that register makes for a connection, and nothing else: preloaded into
// Node, where libuv connects and asks whether it came to stand. What is lost with this
// belongs to the kernel; nobody can do it cheaper who sets the same.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

static void set(int s, int level, int name, int value) {
  setsockopt(s, level, name, &value, sizeof value);
}

int connect(int s, const struct sockaddr *address, socklen_t length) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (real == NULL) real = dlsym(RTLD_NEXT, "connect");
  const int result = real(s, address, length);
  if (address->sa_family != AF_INET) return result;
  set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 60000);
  set(s, IPPROTO_TCP, TCP_KEEPIDLE, 40);
  set(s, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(s, IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(s, SOL_SOCKET, SO_KEEPALIVE, 1);
  return result;
}

int getsockopt(int s, int level, int name, void *value, socklen_t *length) {
  static int (*real)(int, int, int, void *, socklen_t *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "getsockopt");
  if (level == SOL_SOCKET && name == SO_ERROR) set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);
  return real(s, level, name, value, length);
}
