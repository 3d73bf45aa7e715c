#include <uv.h>

#include <cstring>

#include "find_socket.h"
#include "host.h"

namespace keepalive {

namespace {

struct Libuv {
  decltype(&uv_walk) walk;
  decltype(&uv_handle_get_type) handle_get_type;
  decltype(&uv_is_closing) is_closing;
  decltype(&uv_tcp_getsockname) tcp_getsockname;
  decltype(&uv_tcp_getpeername) tcp_getpeername;
  decltype(&uv_fileno) fileno;
  decltype(&uv_ip4_addr) ip4_addr;
  decltype(&uv_ip6_addr) ip6_addr;

  bool Load() {
    return FindInHost("uv_walk", &walk) && FindInHost("uv_handle_get_type", &handle_get_type) &&
           FindInHost("uv_is_closing", &is_closing) &&
           FindInHost("uv_tcp_getsockname", &tcp_getsockname) &&
           FindInHost("uv_tcp_getpeername", &tcp_getpeername) && FindInHost("uv_fileno", &fileno) &&
           FindInHost("uv_ip4_addr", &ip4_addr) && FindInHost("uv_ip6_addr", &ip6_addr);
  }

  int Parse(const char* text, int port, sockaddr_storage* address) const {
    return strchr(text, ':') == nullptr
               ? ip4_addr(text, port, reinterpret_cast<sockaddr_in*>(address))
               : ip6_addr(text, port, reinterpret_cast<sockaddr_in6*>(address));
  }
};

// A zone (fe80::1%3) is not compared: Node does not report it for every address.
bool Same(const sockaddr_storage& a, const sockaddr_storage& b) {
  if (a.ss_family != b.ss_family) return false;
  const auto& a4 = reinterpret_cast<const sockaddr_in&>(a);
  const auto& b4 = reinterpret_cast<const sockaddr_in&>(b);
  const auto& a6 = reinterpret_cast<const sockaddr_in6&>(a);
  const auto& b6 = reinterpret_cast<const sockaddr_in6&>(b);
  // The port is in the same place in both families.
  return a4.sin_port == b4.sin_port &&
         (a.ss_family == AF_INET ? memcmp(&a4.sin_addr, &b4.sin_addr, sizeof a4.sin_addr) == 0
                                 : memcmp(&a6.sin6_addr, &b6.sin6_addr, sizeof a6.sin6_addr) == 0);
}

struct Search {
  Libuv uv;
  sockaddr_storage local{};
  sockaddr_storage remote{};
  bool listener = false;
  int found = 0;
  uv_os_fd_t descriptor{};
};

void Visit(uv_handle_t* handle, void* argument) {
  auto* search = static_cast<Search*>(argument);
  const Libuv& uv = search->uv;
  if (uv.handle_get_type(handle) != UV_TCP || uv.is_closing(handle)) return;
  const auto* tcp = reinterpret_cast<const uv_tcp_t*>(handle);
  sockaddr_storage address{};
  int length = sizeof address;
  if (uv.tcp_getsockname(tcp, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  if (!Same(address, search->local)) return;
  address = {};
  length = sizeof address;
  const bool connected =
      uv.tcp_getpeername(tcp, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  if (connected == search->listener || (connected && !Same(address, search->remote))) return;
  if (uv.fileno(handle, &search->descriptor) == 0) search->found++;
}

}  // namespace

int FindSocket(napi_env env, const char* local_address, int local_port, const char* remote_address,
               int remote_port, Socket* socket) {
  Search search;
  search.listener = *remote_address == '\0';
  uv_loop_t* loop = nullptr;
  if (!search.uv.Load() || napi_get_uv_event_loop(env, &loop) != napi_ok) return kUnavailable;
  int error = search.uv.Parse(local_address, local_port, &search.local);
  if (error == 0 && !search.listener)
    error = search.uv.Parse(remote_address, remote_port, &search.remote);
  if (error != 0) return error;
  search.uv.walk(loop, Visit, &search);
  // Two listeners may share an address, and setting the wrong one must be avoided.
  if (search.found != 1) return search.found == 0 ? UV_ENOENT : UV_EADDRINUSE;
  *socket = reinterpret_cast<Socket>(search.descriptor);
  return 0;
}

}  // namespace keepalive
