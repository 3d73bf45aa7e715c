// A kernel that refuses: preloaded into a process, it answers for system calls that this
// library makes (not for Node's own) with an error where REFUSE says so:
//
//   call level option errno [nth] [anything]
//
// -1 is any level or option; without nth each such call fails, else the nth alone; a rule
// that reads otherwise than the last one counts anew. "uv_epoll_ctl" is libuv's call.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static int from_library(void *caller) {
  Dl_info info;
  return dladdr(caller, &info) != 0 && strstr(info.dli_fname, ".node") != NULL;
}

static int refused(const char *call, int level, int option) {
  static char last[96];
  static int count;
  const char *rule = getenv("REFUSE");
  char name[16];
  int at, which, error, nth = 0;
  if (rule == NULL || sscanf(rule, "%15s %d %d %d %d", name, &at, &which, &error, &nth) < 4)
    return 0;
  if (strcmp(name, call) != 0 || (at != -1 && at != level) || (which != -1 && which != option))
    return 0;
  if (strncmp(last, rule, sizeof last - 1) != 0) {
    strncpy(last, rule, sizeof last - 1);
    count = 0;
  }
  if (nth != 0 && ++count != nth) return 0;
  errno = error;
  return 1;
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
  const int ours = from_library(__builtin_return_address(0))

int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
  REAL(setsockopt);
  return ours && refused("setsockopt", level, option) ? -1 : real(fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
  REAL(getsockopt);
  return ours && refused("getsockopt", level, option) ? -1 : real(fd, level, option, value, length);
}

int epoll_create1(int flags) {
  REAL(epoll_create1);
  return ours && refused("epoll_create1", -1, -1) ? -1 : real(flags);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
  REAL(epoll_ctl);
  return refused(ours ? "epoll_ctl" : "uv_epoll_ctl", -1, -1) ? -1
                                                               : real(epoll, operation, fd, event);
}
