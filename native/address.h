#pragma once

#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#endif

#include <cstddef>
#include <cstdint>

#include "sockopt.h"

namespace keepalive {

#if defined(_WIN32)
using TextSize = size_t;
#else
using TextSize = socklen_t;
#endif

// Writes the address as text and returns the port.
inline int AddressText(const sockaddr_storage& address, char* text, size_t size) {
  const void* host = nullptr;
  uint16_t port = 0;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    host = &v4.sin_addr;
    port = v4.sin_port;
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    host = &v6.sin6_addr;
    port = v6.sin6_port;
  } else {
    return kInvalid;
  }
  if (inet_ntop(address.ss_family, host, text, static_cast<TextSize>(size)) == nullptr)
    return kInvalid;
  return ntohs(port);
}

}  // namespace keepalive
