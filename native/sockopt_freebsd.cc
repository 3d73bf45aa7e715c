// FreeBSD: tcp(4), ip(4); the kernel's sys/netinet/tcp_usrreq.c and tcp_timer.c.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sockopt_unix.h"

namespace keepalive {

const BsdOption kBsdOptions[kOptionCount] = {
    // Seconds that data may be outstanding without progress, 0 = none. FreeBSD 14;
    // before that ENOPROTOOPT.
    {IPPROTO_TCP, TCP_MAXUNACKTIME},
    // kRtoMax
    {IPPROTO_TCP, kNoSuchOption},
    {IPPROTO_TCP, TCP_KEEPIDLE},   // seconds, 0..2^32/hz, 0 = the system's default
    {IPPROTO_TCP, TCP_KEEPINTVL},  // seconds, 0..2^32/hz, 0 = the system's default
    {IPPROTO_TCP, TCP_KEEPCNT},    // 0 = the system's default
    {SOL_SOCKET, SO_KEEPALIVE},
};
const int kConnectTimeout = TCP_KEEPINIT;  // seconds, 0..2^32/hz, 0 = the system's default

// tcp_ctloutput() refuses every option once the connection is gone.
bool HasEnded(int error) { return error == -ECONNRESET; }

// Every path delivers a TTL below 255. An IPv6 socket has no such option.
int SetUnplugged(int socket, bool unplugged) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return -errno;
  if (address.ss_family != AF_INET) return kUnavailable;
  return SetInt(socket, IPPROTO_IP, IP_MINTTL, unplugged ? 255 : 0);
}
int FindCapabilities() { return kUnplug; }

}  // namespace keepalive
