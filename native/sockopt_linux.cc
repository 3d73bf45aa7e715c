// Linux: tcp(7), socket(7), ip(7), ipv6(7); the kernel's net/ipv4/tcp.c, net/core/sock.c.
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "address.h"
#include "sockopt.h"
#include "sockopt_unix.h"

// Linux 6.15; older headers lack it, older kernels return ENOPROTOOPT.
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

// ipv6(7); musl's headers lack it.
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif

namespace keepalive {

namespace {

struct Name {
  int level;
  int name;
};

constexpr Name kNames[kOptionCount] = {
    {IPPROTO_TCP, TCP_USER_TIMEOUT},  // 0..2^31-1
    {IPPROTO_TCP, TCP_RTO_MAX_MS},    // 1000..120000
    {IPPROTO_TCP, TCP_KEEPIDLE},      // 1..32767
    {IPPROTO_TCP, TCP_KEEPINTVL},     // 1..32767
    {IPPROTO_TCP, TCP_KEEPCNT},       // 1..127
    {SOL_SOCKET, SO_KEEPALIVE},
};

// gVisor accepts these options without effect, so they are read back.
int SetMinimum(int socket, int level, int name, int minimum) {
  const int refused = SetInt(socket, level, name, minimum);
  if (refused < 0) return refused;
  int set = 0;
  return GetInt(socket, level, name, &set) == 0 && set == minimum ? 0 : kUnavailable;
}

}  // namespace

int SetOption(int socket, Option option, int value) {
  return SetInt(socket, kNames[option].level, kNames[option].name, value);
}

int GetOption(int socket, Option option, int* value) {
  return GetInt(socket, kNames[option].level, kNames[option].name, value);
}

// Packets arrive with a TTL below 255 on loopback and on every real path, so a minimum
// of 255 drops all of them. A v4-mapped IPv6 socket receives IPv4, so it needs both.
int SetUnplugged(int socket, bool unplugged) {
  const int minimum = unplugged ? 255 : 0;
  int family = 0;
  const int result = GetInt(socket, SOL_SOCKET, SO_DOMAIN, &family);
  if (result < 0) return result;
  if (family == AF_INET6) {
    const int refused = SetMinimum(socket, IPPROTO_IPV6, IPV6_MINHOPCOUNT, minimum);
    if (refused < 0) return refused;
  }
  return SetMinimum(socket, IPPROTO_IP, IP_MINTTL, minimum);
}

// getpeername() fails with ENOTCONN once the connection has ended. SO_PEERNAME does
// not check the state (net/ipv4/af_inet.c, inet_getname with peer == 2), but refuses
// a buffer larger than the family's address.
int ReadPeerAddress(int socket, char* text, size_t size) {
  sockaddr_storage address{};
  int family = 0;
  const int result = GetInt(socket, SOL_SOCKET, SO_DOMAIN, &family);
  if (result < 0) return result;
  socklen_t length = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERNAME, &address, &length) != 0) return -errno;
  return AddressText(address, text, size);
}

namespace {

// The kernel's struct only grows at its end, and headers are older than kernels: the
// buffer has room for later fields, and the returned length shows which were written.
union InfoBuffer {
  tcp_info info;
  unsigned char bytes[512];
};

int ReadInfo(int socket, InfoBuffer* buffer) {
  socklen_t length = sizeof *buffer;
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, buffer, &length) != 0) return -errno;
  // qemu-user writes four bytes only; the callers do not check the length of the first fields.
  if (length < offsetof(tcp_info, tcpi_rcv_rtt)) return kUnavailable;
  return static_cast<int>(length);
}

// enum tcp_state: of the user-space headers, only netinet/tcp.h has the names.
constexpr int kSynSent = 2;
constexpr int kClose = 7;

// tcpi_rcv_wnd (Linux 6.2) follows tcpi_snd_wnd, the last field of the 5.4 ABI.
constexpr size_t kReceiveWindowOffset = offsetof(tcp_info, tcpi_snd_wnd) + sizeof(uint32_t);

}  // namespace

// tcp_init_sock() sets a retransmission timeout and a segment size on a new socket. gVisor sets
// neither, and lacks the outstanding data and the time of the last answer; qemu-user passes on
// four bytes only.
int FindCapabilities() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -errno;
  InfoBuffer buffer{};
  const bool has_numbers =
      ReadInfo(socket, &buffer) >= 0 && buffer.info.tcpi_rto > 0 && buffer.info.tcpi_snd_mss > 0;
  const bool has_unplug = SetUnplugged(socket, true) == 0;
  close(socket);
  return (has_numbers ? kTcpInfo : 0) | (has_unplug ? kUnplug : 0);
}

int ReadTcpInfo(int socket, double* fields) {
  InfoBuffer buffer;
  const int result = ReadInfo(socket, &buffer);
  if (result < 0) return result;
  const auto length = static_cast<size_t>(result);
  const tcp_info& info = buffer.info;
  int index = 0;
  const auto flag = [&](unsigned value) { fields[index++] = value; };
  // A field counts only if the kernel wrote all of it.
  const auto field = [&](size_t offset, auto value) {
    if (offset + sizeof value <= length) fields[index] = static_cast<double>(value);
    index++;
  };
#define FIELD(member) field(offsetof(tcp_info, member), info.member)
  flag(info.tcpi_state);
  flag(info.tcpi_retransmits);
  flag(info.tcpi_probes);
  flag(info.tcpi_backoff);
  FIELD(tcpi_rto);
  FIELD(tcpi_rtt);
  FIELD(tcpi_rttvar);
  FIELD(tcpi_min_rtt);
  FIELD(tcpi_rcv_rtt);
  FIELD(tcpi_unacked);
  FIELD(tcpi_lost);
  FIELD(tcpi_sacked);
  FIELD(tcpi_retrans);
  FIELD(tcpi_total_retrans);
  FIELD(tcpi_notsent_bytes);
  FIELD(tcpi_bytes_sent);
  FIELD(tcpi_bytes_retrans);
  FIELD(tcpi_bytes_acked);
  FIELD(tcpi_bytes_received);
  FIELD(tcpi_segs_out);
  FIELD(tcpi_segs_in);
  FIELD(tcpi_last_data_sent);
  FIELD(tcpi_last_data_recv);
  FIELD(tcpi_last_ack_recv);
  FIELD(tcpi_snd_cwnd);
  FIELD(tcpi_snd_ssthresh);
  FIELD(tcpi_snd_wnd);
  uint32_t receive_window = 0;
  memcpy(&receive_window, buffer.bytes + kReceiveWindowOffset, sizeof receive_window);
  field(kReceiveWindowOffset, receive_window);
  FIELD(tcpi_rcv_space);
  FIELD(tcpi_snd_mss);
  FIELD(tcpi_rcv_mss);
  FIELD(tcpi_pmtu);
  FIELD(tcpi_delivery_rate);
#undef FIELD
  return result;
}

void ReadOutstanding(int socket, Outstanding* outstanding) {
  // For most connections nothing waits, and to ask for that alone takes a fraction of TCP_INFO.
  int waiting = 1;
  if (ioctl(socket, SIOCOUTQ, &waiting) == 0 && waiting == 0) {
    outstanding->waits = 0;
    return;
  }
  // Linux before 4.6 writes neither tcpi_notsent_bytes nor tcpi_data_segs_in.
  InfoBuffer buffer{};
  const int result = ReadInfo(socket, &buffer);
  outstanding->waits = std::min(result, 0);
  if (result < 0) return;
  const tcp_info& info = buffer.info;
  const bool waits = info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0;
  const auto low = [](uint64_t value) { return static_cast<int>(value & INT32_MAX); };
  const bool open = info.tcpi_state != kSynSent && info.tcpi_state != kClose;
  outstanding->waits = waits && open ? 1 : 0;
  outstanding->in_flight = low(info.tcpi_unacked);
  const bool has_window = static_cast<size_t>(result) >= kReceiveWindowOffset;
  outstanding->window = has_window ? low(std::min<uint32_t>(info.tcpi_snd_wnd, INT32_MAX)) : -1;
  outstanding->since_ack = low(std::min<uint32_t>(info.tcpi_last_ack_recv, INT32_MAX));
  outstanding->acknowledged = low(info.tcpi_bytes_acked);
  outstanding->retransmitted = low(info.tcpi_total_retrans);
  outstanding->probes = info.tcpi_probes;
  outstanding->timeouts = info.tcpi_retransmits;
  outstanding->bare = low(info.tcpi_segs_in - info.tcpi_data_segs_in);
  // A peer always has at least TCP_RTO_MIN to answer.
  const uint32_t deviation = std::max<uint32_t>(4 * info.tcpi_rttvar, 200'000);
  outstanding->answer_time = low((info.tcpi_rtt + deviation) / 1000);
  // Each expiry doubles the interval: all intervals before the last add up to the last minus the
  // first. An expiry that sent nothing, because the link layer still has the segment, does not
  // count.
  const uint64_t timer = info.tcpi_rto / 1000;
  const unsigned expiries = info.tcpi_retrans > 0 ? info.tcpi_retransmits : 0;
  const uint64_t in_flight = info.tcpi_last_data_sent + timer - (timer >> std::min(expiries, 31U));
  const uint64_t probed = (timer << std::min<unsigned>(info.tcpi_backoff, 16)) - timer;
  const uint64_t waited = info.tcpi_unacked > 0 ? in_flight : probed;
  outstanding->waited = low(std::min<uint64_t>(waited, INT32_MAX));
}

}  // namespace keepalive
