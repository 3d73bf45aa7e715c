// Windows: "IPPROTO_TCP socket options" and "SOL_SOCKET socket options" of Winsock.
#include <uv.h>

#include "address.h"
#include "host.h"
#include "sockopt.h"

namespace keepalive {

namespace {

struct Name {
  int level;
  int name;  // kNoSuchOption where the system lacks it
};

constexpr int kNoSuchOption = -1;

constexpr Name kNames[kOptionCount] = {
    {IPPROTO_TCP, TCP_MAXRTMS},    // milliseconds that a segment may stay unacknowledged
    {IPPROTO_TCP, kNoSuchOption},  // kRtoMax
    {IPPROTO_TCP, TCP_KEEPIDLE},   // seconds, from 1; Windows 10 1709
    {IPPROTO_TCP, TCP_KEEPINTVL},  // seconds, from 1; Windows 10 1709
    {IPPROTO_TCP, TCP_KEEPCNT},    // 1..255; Windows 10 1703
    {SOL_SOCKET, SO_KEEPALIVE},
};

// Translates Winsock's error number with the host's own table into libuv's, so that codes are
// the same as in Node's errors. The table lacks the error of an old Windows.
int ErrorNumber(int error) {
  if (error == WSAENOPROTOOPT) return UV_ENOPROTOOPT;
  int (*translate)(int) = nullptr;
  return FindInHost("uv_translate_sys_error", &translate) ? translate(error) : UV_UNKNOWN;
}

int LastError() { return ErrorNumber(WSAGetLastError()); }

int SetInt(SOCKET socket, int level, int name, int value) {
  const auto* bytes = reinterpret_cast<const char*>(&value);
  return setsockopt(socket, level, name, bytes, sizeof value) == 0 ? 0 : LastError();
}

// SO_KEEPALIVE is returned as one byte, the others as four.
int GetInt(SOCKET socket, int level, int name, int* value) {
  *value = 0;
  int length = sizeof *value;
  auto* bytes = reinterpret_cast<char*>(value);
  return getsockopt(socket, level, name, bytes, &length) == 0 ? 0 : LastError();
}

}  // namespace

// TCP_MAXRTMS is newer than TCP_MAXRT, which is the same in seconds.
int SetOption(Socket socket, Option option, int value) {
  if (kNames[option].name == kNoSuchOption) return kUnavailable;
  const int error = SetInt(socket, kNames[option].level, kNames[option].name, value);
  if (option == kUserTimeout && error == UV_ENOPROTOOPT)
    return SetInt(socket, IPPROTO_TCP, TCP_MAXRT, SecondsFromMilliseconds(value));
  return error;
}

int GetOption(Socket socket, Option option, int* value) {
  if (kNames[option].name == kNoSuchOption) return kUnavailable;
  int error = GetInt(socket, kNames[option].level, kNames[option].name, value);
  if (option == kUserTimeout && error == UV_ENOPROTOOPT) {
    error = GetInt(socket, IPPROTO_TCP, TCP_MAXRT, value);
    if (error == 0) *value = MillisecondsFromSeconds(*value);
  }
  return error;
}

int CountUnread(Socket socket) {
  u_long count = 0;
  return ioctlsocket(socket, FIONREAD, &count) == 0 ? static_cast<int>(count) : LastError();
}

int64_t Milliseconds() { return static_cast<int64_t>(GetTickCount64()); }

int TakeError(Socket socket) {
  int error = 0;
  const int result = GetInt(socket, SOL_SOCKET, SO_ERROR, &error);
  if (result < 0) return result;
  return error == 0 ? 0 : -ErrorNumber(error);
}

int ReadPeerAddress(Socket socket, char* text, size_t size) {
  sockaddr_storage address{};
  int length = sizeof address;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return LastError();
  return AddressText(address, text, size);
}

int SetUnplugged(Socket, bool) { return kUnavailable; }
int FindCapabilities() { return 0; }

// SIO_TCP_INFO has neither probes nor the time of the last acknowledgement.
int ReadTcpInfo(Socket, double*) { return kUnavailable; }
void ReadOutstanding(Socket, Outstanding* outstanding) { outstanding->waits = kUnavailable; }

}  // namespace keepalive
