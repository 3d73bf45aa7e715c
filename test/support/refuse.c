// A kernel that refuses: preloaded into a process, it answers for setsockopt() and
// getsockopt() with an error where REFUSE says so: "call level option errno".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int refused(const char *call, int level, int option) {
  const char *rule = getenv("REFUSE");
  char name[16];
  int at, which, error;
  if (rule == NULL || sscanf(rule, "%15s %d %d %d", name, &at, &which, &error) != 4) return 0;
  if (strcmp(name, call) != 0 || at != level || which != option) return 0;
  errno = error;
  return 1;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
  static int (*real)(int, int, int, const void *, socklen_t);
  if (real == NULL) real = dlsym(RTLD_NEXT, "setsockopt");
  return refused("setsockopt", level, option) ? -1 : real(fd, level, option, value, length);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
  static int (*real)(int, int, int, void *, socklen_t *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "getsockopt");
  return refused("getsockopt", level, option) ? -1 : real(fd, level, option, value, length);
}
