// The contract that every operating system's sockopt_*.cc fulfils.
//
// Each function returns 0 or more for the answer, a negative errno (in libuv's
// numbering, which is the kernel's own on Unix) for a refusal. Nothing throws,
// nothing is kept between calls.
#pragma once

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>

// Not tcp_keepalive, which is a struct of Windows.
namespace keepalive {

#if defined(_WIN32)
using Socket = uintptr_t;
#else
using Socket = int;
#endif

// kUnavailable is the answer where the system has no such thing at all. A kernel
// that merely is too old answers ENOPROTOOPT by itself. (libuv's header would bring
// in <netinet/tcp.h>, which does not go together with <linux/tcp.h>.)
#if defined(_WIN32)
constexpr int kUnavailable = -4054;  // UV_ENOSYS
constexpr int kInvalid = -4071;      // UV_EINVAL
#else
constexpr int kUnavailable = -ENOSYS;
constexpr int kInvalid = -EINVAL;
#endif

// The order is the order of writing, and it is a promise: what an MPTCP or a
// Unix socket refuses comes first, and SO_KEEPALIVE last, so that keepalive
// never runs for a moment with an idle time that nobody asked for.
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
// In the same units, what is really set.
int GetOption(Socket socket, Option option, int* value);

// For systems that count in seconds. Rounded up: a live peer must not be timed out earlier than
// the caller said.
inline int SecondsFromMilliseconds(int milliseconds) {
  return milliseconds / 1000 + (milliseconds % 1000 != 0 ? 1 : 0);
}
inline int MillisecondsFromSeconds(int seconds) {
  return seconds > INT_MAX / 1000 ? INT_MAX : seconds * 1000;
}

// Takes the socket's pending error, which the kernel then forgets.
int TakeError(Socket socket);

// The bytes that have arrived and were not read.
int CountUnread(Socket socket);

// Of a clock that never goes back, and that no test can replace.
int64_t Milliseconds();

// Pulls the cable of this one socket (segments that arrive are dropped before
// TCP sees them), or puts it back. kUnavailable where the option is taken and has no effect.
int SetUnplugged(Socket socket, bool unplugged);

// What the system really has, found out with a socket that is never connected. Sandboxes and
// emulators take calls whose answers mean nothing.
enum Capability : int {
  kTcpInfo = 1,  // TCP_INFO has numbers, and not only a state
  kUnplug = 2,   // SetUnplugged works
};
// The sum of those that are there, a negative errno where no socket could be had.
int FindCapabilities();

// The peer's address as text, also of a connection that is dead already.
// Returns the port.
int ReadPeerAddress(Socket socket, char* text, size_t size);

// TCP_INFO as numbers, in the order of src/tcp-info.ts; a field that this
// kernel lacks is left as it is. Returns how many bytes the kernel wrote.
int ReadTcpInfo(Socket socket, double* fields);
constexpr int kTcpInfoFields = 33;

// What a connection waits for, and what its peer has answered. Integers only: an array of
// these is shared with src/connection/liveness.ts, which names them in this order.
struct Outstanding {
  // The descriptor; replaced by 1 when something waits for the peer's acknowledgement, by 0
  // when nothing does. While connecting 0, which has its own bound, and 0 once it has ended. A
  // negative errno where the kernel does not say; the others are left as they are then.
  int waits;
  // Segments sent and not acknowledged.
  int in_flight;
  // Bytes that the peer has room for; -1 where the kernel does not say (Linux before 5.4).
  int window;
  // Milliseconds since the peer has acknowledged anything, something new or not.
  int since_ack;
  // The low bits of the bytes that the peer has acknowledged.
  int acknowledged;
  // The low bits of all retransmissions so far.
  int retransmitted;
  // The window probes since the last answer.
  int probes;
  // The retransmission timer's expiries since the last progress: some send nothing, while
  // the link layer still holds the segment before. Not counted while the window is closed.
  int timeouts;
  // The low bits of the segments without data that have arrived: acknowledgements and probes.
  int bare;
  // Milliseconds within which an answer has come back: the smoothed round-trip time and its
  // deviation, as in the retransmission timeout (RFC 6298).
  int answer_time;
  // Milliseconds for which something has waited at the least, by the kernel's timers: since the
  // last data was sent, and the intervals of the retransmissions, or of the window probes, before.
  int waited;
};
constexpr int kOutstandingFields = 11;
void ReadOutstanding(Socket socket, Outstanding* outstanding);

}  // namespace keepalive
