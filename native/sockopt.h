// The interface that the sockopt_*.cc of every operating system implements.
//
// Each function returns a result of 0 or more, or a negative errno (in libuv's
// numbering, which on Unix is the kernel's) for a refusal. Nothing throws, and
// no state is kept between calls.
#pragma once

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>

// Not tcp_keepalive, which is a struct on Windows.
namespace keepalive {

#if defined(_WIN32)
using Socket = uintptr_t;
#else
using Socket = int;
#endif

// kUnavailable means that the system does not have the option or function at all. A kernel
// that is only too old returns ENOPROTOOPT itself. (libuv's header would include
// <netinet/tcp.h>, which conflicts with <linux/tcp.h>.)
#if defined(_WIN32)
constexpr int kUnavailable = -4054;  // UV_ENOSYS
constexpr int kInvalid = -4071;      // UV_EINVAL
#else
constexpr int kUnavailable = -ENOSYS;
constexpr int kInvalid = -EINVAL;
#endif

// The order of writing, which must not change: the options that an MPTCP or a Unix
// socket refuses come first, and SO_KEEPALIVE last, so that keepalive never runs
// with an idle time that was not set.
enum Option : int {
  kUserTimeout,  // milliseconds, 0 = the kernel's default; rounded up where the unit is seconds
  kRtoMax,       // milliseconds, Linux 6.15 and newer
  kIdle,         // seconds
  kInterval,     // seconds
  kCount,        // probes
  kKeepalive,    // 0 or 1
  kOptionCount
};

int SetOption(Socket socket, Option option, int value);
// The value in force, in the same units.
int GetOption(Socket socket, Option option, int* value);

// For systems that count in seconds. Rounded up: a live peer must not be timed out earlier than
// the caller said.
inline int SecondsFromMilliseconds(int milliseconds) {
  return milliseconds / 1000 + (milliseconds % 1000 != 0 ? 1 : 0);
}
inline int MillisecondsFromSeconds(int seconds) {
  return seconds > INT_MAX / 1000 ? INT_MAX : seconds * 1000;
}

// Reads the socket's pending error, which clears it in the kernel.
int TakeError(Socket socket);

// The number of received bytes that have not been read.
int CountUnread(Socket socket);

// Of a monotonic clock, which fake timers do not replace.
int64_t Milliseconds();

// Unplugs this one socket (arriving segments are dropped before TCP sees them), or plugs
// it in again. kUnavailable if the option is accepted without effect.
int SetUnplugged(Socket socket, bool unplugged);

// What the system really supports, determined with a socket that is never connected. Sandboxes
// and emulators accept calls whose results mean nothing.
enum Capability : int {
  kTcpInfo = 1,  // TCP_INFO has numbers, not only a state
  kUnplug = 2,   // SetUnplugged works
};
// The sum of the available ones, or a negative errno if no socket could be opened.
int FindCapabilities();

// The peer's address as text, also after the connection has ended. Returns the port.
int ReadPeerAddress(Socket socket, char* text, size_t size);

// TCP_INFO as numbers, in the order of src/tcp-info.ts; fields that this kernel
// lacks are unchanged. Returns how many bytes the kernel wrote.
int ReadTcpInfo(Socket socket, double* fields);
constexpr int kTcpInfoFields = 33;

// The outstanding data of a connection, and its peer's answers. Integers only: an array of
// these is shared with src/connection/liveness.ts, which has the names in this order.
struct Outstanding {
  // The descriptor; replaced by 1 if something waits for the peer's acknowledgement, else by 0.
  // 0 also while connecting, which is bounded separately, and after the connection has ended. A
  // negative errno if TCP_INFO cannot be read; the other fields are unchanged then.
  int waits;
  // Segments sent and not acknowledged.
  int in_flight;
  // Bytes that the peer has room for; -1 if the kernel lacks the field (Linux before 5.4).
  int window;
  // Milliseconds since the peer's last acknowledgement, of new data or not.
  int since_ack;
  // The low bits of the number of acknowledged bytes.
  int acknowledged;
  // The low bits of the number of all retransmissions so far.
  int retransmitted;
  // The window probes since the last answer.
  int probes;
  // The retransmission timer's expiries since the last progress. Some send nothing, because the
  // link layer still has the previous segment. Not counted while the window is closed.
  int timeouts;
  // The low bits of the number of received segments without data: acknowledgements and probes.
  int bare;
  // Milliseconds within which an answer is expected: the smoothed round-trip time plus its
  // deviation, as in the retransmission timeout (RFC 6298).
  int answer_time;
  // The minimum of milliseconds for which something has waited, by the kernel's timers: since the
  // last data was sent, plus the earlier intervals of the retransmissions, or of the window probes.
  int waited;
};
constexpr int kOutstandingFields = 11;
void ReadOutstanding(Socket socket, Outstanding* outstanding);

}  // namespace keepalive
