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
    {IPPROTO_TCP, TCP_MAXRTMS},    // milliseconds that a segment may stay unacknowledged; see below
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

int SetInt(SOCKET socket, Name name, int value) {
  const auto* bytes = reinterpret_cast<const char*>(&value);
  return setsockopt(socket, name.level, name.name, bytes, sizeof value) == 0 ? 0 : LastError();
}

// SO_KEEPALIVE is returned as one byte, the others as four.
int GetInt(SOCKET socket, Name name, int* value) {
  *value = 0;
  int length = sizeof *value;
  auto* bytes = reinterpret_cast<char*>(value);
  return getsockopt(socket, name.level, name.name, bytes, &length) == 0 ? 0 : LastError();
}

// The user timeout. TCP_MAXRT is in seconds and documented: -1 disables the timeout, and 0 is no
// special value. TCP_MAXRTMS is the same in milliseconds, in newer versions.
constexpr Name kSeconds = {IPPROTO_TCP, TCP_MAXRT};

bool IsInSeconds(Name name) { return name.name == kSeconds.name; }

// No value is documented to restore the default, so it is read from a new socket.
int GetDefault(Name name, int* value) {
  const SOCKET socket =
      WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, nullptr, 0, WSA_FLAG_NO_HANDLE_INHERIT);
  if (socket == INVALID_SOCKET) return LastError();
  const int error = GetInt(socket, name, value);
  closesocket(socket);
  return error;
}

int SetUserTimeout(SOCKET socket, Name name, int value) {
  int written = IsInSeconds(name) ? SecondsFromMilliseconds(value) : value;
  const int error = value == 0 ? GetDefault(name, &written) : 0;
  return error == 0 ? SetInt(socket, name, written) : error;
}

int GetUserTimeout(SOCKET socket, Name name, int* value) {
  int initial = 0;
  int error = GetInt(socket, name, value);
  if (error == 0) error = GetDefault(name, &initial);
  if (error != 0) return error;
  if (*value == initial) {
    *value = 0;
  } else if (*value < 0) {
    // Disabled, but not by this library.
    *value = INT_MAX;
  } else if (IsInSeconds(name)) {
    *value = MillisecondsFromSeconds(*value);
  }
  return 0;
}

}  // namespace

int SetOption(Socket socket, Option option, int value) {
  const Name name = kNames[option];
  if (name.name == kNoSuchOption) return kUnavailable;
  if (option != kUserTimeout) return SetInt(socket, name, value);
  const int error = SetUserTimeout(socket, name, value);
  return error == UV_ENOPROTOOPT ? SetUserTimeout(socket, kSeconds, value) : error;
}

int GetOption(Socket socket, Option option, int* value) {
  const Name name = kNames[option];
  if (name.name == kNoSuchOption) return kUnavailable;
  if (option != kUserTimeout) return GetInt(socket, name, value);
  const int error = GetUserTimeout(socket, name, value);
  return error == UV_ENOPROTOOPT ? GetUserTimeout(socket, kSeconds, value) : error;
}

int CountUnread(Socket socket) {
  u_long count = 0;
  return ioctlsocket(socket, FIONREAD, &count) == 0 ? static_cast<int>(count) : LastError();
}

int64_t Milliseconds() { return static_cast<int64_t>(GetTickCount64()); }

int TakeError(Socket socket) {
  int error = 0;
  const int result = GetInt(socket, {SOL_SOCKET, SO_ERROR}, &error);
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
