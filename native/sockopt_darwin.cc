// macOS: tcp(4); xnu's bsd/netinet/tcp_usrreq.c, tcp_timer.c and bsd/kern/uipc_socket.c.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sockopt_unix.h"

namespace keepalive {

// TCP_RXT_CONNDROPTIME counts from the first retransmission of an established connection.
const BsdOption kBsdOptions[kOptionCount] = {
    {IPPROTO_TCP, TCP_RXT_CONNDROPTIME},  // seconds, 0 = none
    {IPPROTO_TCP, kNoSuchOption},         // kRtoMax
    {IPPROTO_TCP, TCP_KEEPALIVE},         // seconds, 0..4294967, 0 = the system's default
    {IPPROTO_TCP, TCP_KEEPINTVL},         // seconds, 0..4294967, 0 = the system's default
    {IPPROTO_TCP, TCP_KEEPCNT},           // 0..2^31-1, 0 = the system's default
    {SOL_SOCKET, SO_KEEPALIVE},
};
const int kConnectTimeout = TCP_CONNECTIONTIMEOUT;  // seconds, 0..4294967, 0 = the system's default

// sosetoptlock() refuses every option once both directions are shut, and tcp_ctloutput() once the
// connection is gone. No value that reaches this file is invalid.
bool HasEnded(int error) { return error == -EINVAL || error == -ECONNRESET; }

// IP_MINTTL is not among macOS's options.
int SetUnplugged(int, bool) { return kUnavailable; }
int FindCapabilities() { return 0; }

}  // namespace keepalive
