#include <netinet/in.h>

#include "address.h"
#include "sockopt_unix.h"

namespace keepalive {

int SetOption(int socket, Option option, int value) {
  const BsdOption& target = kBsdOptions[option];
  if (target.name == kNoSuchOption) return kUnavailable;
  if (option == kUserTimeout) value = SecondsFromMilliseconds(value);
  int error = SetInt(socket, target.level, target.name, value);
  if (option == kUserTimeout && error == 0)
    error = SetInt(socket, IPPROTO_TCP, kConnectTimeout, value);
  if (option == kIdle && error == 0) {
    // The idle time has restarted the timer that also bounds a connect, with the idle time.
    int seconds = 0;
    error = GetInt(socket, IPPROTO_TCP, kConnectTimeout, &seconds);
    if (error == 0) error = SetInt(socket, IPPROTO_TCP, kConnectTimeout, seconds);
  }
  // As on Linux, which accepts options also then: how the connection ended is for Node to report,
  // when it reads.
  return HasEnded(error) ? 0 : error;
}

int GetOption(int socket, Option option, int* value) {
  const BsdOption& target = kBsdOptions[option];
  if (target.name == kNoSuchOption) return kUnavailable;
  const int error = GetInt(socket, target.level, target.name, value);
  if (error < 0) return error;
  if (option == kUserTimeout) *value = MillisecondsFromSeconds(*value);
  // A flag reads back as its own bit, which is 8.
  if (option == kKeepalive) *value = *value != 0;
  return 0;
}

int ReadPeerAddress(int socket, char* text, size_t size) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return -errno;
  return AddressText(address, text, size);
}

// Each system has its own structure, without the time of the last acknowledgement.
int ReadTcpInfo(int, double*) { return kUnavailable; }
void ReadOutstanding(int, Outstanding* outstanding) { outstanding->waits = kUnavailable; }

}  // namespace keepalive
