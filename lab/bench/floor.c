// What the kernel alone takes, and peers that take nothing of the measured process.
//   floor calls          nanoseconds of each operation's system calls, as JSON
//   floor fresh N        the same for the first set of N sockets, watched
//   floor serve          answers one HTTP request per connection; prints its port
//   floor visit PORT N   connects and closes N times
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// Short, so that some are never interrupted.
enum { BATCH = 500, BATCHES = 240 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(int result, const char *what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

static int listener(int backlog, int *port) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  must(bind(s, (struct sockaddr *)&address, sizeof address), "bind");
  must(listen(s, backlog), "listen");
  getsockname(s, (struct sockaddr *)&address, &length);
  *port = ntohs(address.sin_port);
  return s;
}

// Several loopback addresses: one has too few ports for what is measured.
static int dial(int port, int i) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  address.sin_addr.s_addr = htonl(0x7f000001u + (unsigned)(i % 8));
  int s = socket(AF_INET, SOCK_STREAM, 0);
  must(s, "socket");
  must(connect(s, (struct sockaddr *)&address, sizeof address), "connect");
  return s;
}

static void set(int s, int level, int name, int value) {
  must(setsockopt(s, level, name, &value, sizeof value), "setsockopt");
}

static void keepalive(int s, int i) {
  set(s, IPPROTO_TCP, TCP_KEEPIDLE, 60 + (i & 1));
  set(s, IPPROTO_TCP, TCP_KEEPINTVL, 10 + (i & 1));
  set(s, IPPROTO_TCP, TCP_KEEPCNT, 3 + (i & 1));
  set(s, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void op_keepalive(int s, int i) { keepalive(s, i); }
static void op_user_timeout(int s, int i) {
  set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 90000 + (i & 1));
}
static void op_dead_peer(int s, int i) {
  set(s, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);
  keepalive(s, i);
}
static int sink;
static void get(int s, int level, int name) {
  socklen_t length = sizeof sink;
  must(getsockopt(s, level, name, &sink, &length), "getsockopt");
}
static void op_get(int s, int i) {
  (void)i;
  get(s, IPPROTO_TCP, TCP_KEEPIDLE);
  get(s, IPPROTO_TCP, TCP_KEEPINTVL);
  get(s, IPPROTO_TCP, TCP_KEEPCNT);
  get(s, SOL_SOCKET, SO_KEEPALIVE);
}
static void op_info(int s, int i) {
  char buffer[512];
  socklen_t length = sizeof buffer;
  (void)i;
  must(getsockopt(s, IPPROTO_TCP, TCP_INFO, buffer, &length), "getsockopt");
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

// What else the machine does only adds.
static double quartile_ns(void (*op)(int, int), int s) {
  static double batches[BATCHES];
  for (int b = 0; b < BATCHES; b++) {
    const double from = now();
    for (int i = 0; i < BATCH; i++) op(s, i);
    batches[b] = (now() - from) / BATCH;
  }
  qsort(batches, BATCHES, sizeof *batches, ascending);
  return batches[BATCHES / 4];
}

// A process with one thread finds its descriptors without taking a reference. Node has
// several, and so must this one.
static void *idle(void *nothing) {
  (void)nothing;
  for (;;) pause();
  return NULL;
}

static void fresh(int n) {
  int port, epoll = epoll_create1(0);
  const int l = listener(4096, &port);
  int *sockets = malloc((size_t)n * sizeof *sockets);
  for (int i = 0; i < n; i++) {
    sockets[i] = dial(port, i);
    accept(l, NULL, NULL);
  }
  enum { PARTS = 5 };
  double keep[PARTS], both[PARTS];
  for (int p = 0; p < PARTS; p++) {
    const int from = n / PARTS * p, to = n / PARTS * (p + 1);
    double start = now();
    for (int i = from; i < to; i++) keepalive(sockets[i], i);
    keep[p] = (now() - start) / (to - from);
  }
  // Anew, in one go, as the library does it.
  for (int i = 0; i < n; i++) close(sockets[i]);
  for (int i = 0; i < n; i++) {
    sockets[i] = dial(port, i);
    accept(l, NULL, NULL);
  }
  for (int p = 0; p < PARTS; p++) {
    const int from = n / PARTS * p, to = n / PARTS * (p + 1);
    double start = now();
    for (int i = from; i < to; i++) {
      struct epoll_event event = {.events = EPOLLET, .data = {.fd = sockets[i]}};
      keepalive(sockets[i], i);
      must(epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event), "epoll_ctl");
    }
    both[p] = (now() - start) / (to - from);
  }
  qsort(keep, PARTS, sizeof *keep, ascending);
  qsort(both, PARTS, sizeof *both, ascending);
  printf("{\"unwatched\":%.1f,\"first\":%.1f}\n", keep[PARTS / 2], both[PARTS / 2]);
}

static void serve(void) {
  static const char answer[] =
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
  char request[4096];
  int port;
  const int l = listener(4096, &port);
  printf("%d\n", port);
  fflush(stdout);
  for (;;) {
    const int s = accept(l, NULL, NULL);
    if (s < 0) continue;
    if (read(s, request, sizeof request) > 0 && write(s, answer, sizeof answer - 1) > 0)
      shutdown(s, SHUT_WR);
    close(s);
  }
}

static void visit(int port, int n) {
  char nothing[1];
  enum { AT_ONCE = 50 };
  int sockets[AT_ONCE];
  for (int done = 0; done < n; done += AT_ONCE) {
    for (int i = 0; i < AT_ONCE; i++) sockets[i] = dial(port, i);
    for (int i = 0; i < AT_ONCE; i++) shutdown(sockets[i], SHUT_WR);
    for (int i = 0; i < AT_ONCE; i++) {
      while (read(sockets[i], nothing, 1) > 0) continue;
      close(sockets[i]);
    }
  }
}

int main(int count, char **arguments) {
  const char *mode = count > 1 ? arguments[1] : "";
  pthread_t thread;
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  pthread_create(&thread, NULL, idle, NULL);
  if (strcmp(mode, "serve") == 0) serve();
  if (strcmp(mode, "fresh") == 0) {
    fresh(atoi(arguments[2]));
    return 0;
  }
  if (strcmp(mode, "visit") == 0) {
    visit(atoi(arguments[2]), atoi(arguments[3]));
    return 0;
  }
  int port;
  const int l = listener(1, &port), s = dial(port, 0);
  accept(l, NULL, NULL);
  keepalive(s, 0);
  printf("{\"setKeepalive\":%.1f,\"setUserTimeout\":%.1f,\"setDeadPeerTimeout\":%.1f,"
         "\"getKeepalive\":%.1f,\"getTcpInfo\":%.1f}\n",
         quartile_ns(op_keepalive, s), quartile_ns(op_user_timeout, s), quartile_ns(op_dead_peer, s),
         quartile_ns(op_get, s), quartile_ns(op_info, s));
  return 0;
}
