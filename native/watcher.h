// Reports the end of connections, also of those that are not being read, and has a timer.
//
// One per environment, on the environment's own event loop, without a thread. It does not keep the
// process running. The timer is here because fake timers may replace all timers of JavaScript.
#pragma once

#include <node_api.h>
#include <uv.h>

#include "host.h"
#include "poller.h"

namespace keepalive {

class Watcher {
 public:
  // A connection has ended; the ticket identifies it, because descriptors are reused at once.
  // With kTimer as the descriptor: the timer has expired.
  using Notify = void (*)(void* context, int descriptor, int ticket);
  static constexpr int kTimer = -1;

  // Returns 0 and a watcher, or a negative errno.
  static int Open(napi_env env, Notify notify, void* context, Watcher** watcher);
  // If no descriptor is free for a poller it fails, and may succeed the next time.
  int Watch(Socket socket, int ticket);
  // Replaces the earlier time.
  int SetTimer(int milliseconds);
  // The memory is freed when the event loop has closed the handles; then `closed` is called.
  void Close(void (*closed)(void*), void* context);

 private:
  struct Libuv {
    decltype(&uv_poll_init) poll_init;
    decltype(&uv_poll_start) poll_start;
    decltype(&uv_timer_init) timer_init;
    decltype(&uv_timer_start) timer_start;
    decltype(&uv_update_time) update_time;
    decltype(&uv_unref) unref;
    decltype(&uv_close) close;

    bool Load();
  };

  Watcher(const Libuv& uv, Notify notify, void* context)
      : uv_(uv), notify_(notify), context_(context) {}

  int OpenPoll();

  static void OnReadable(uv_poll_t* poll, int status, int events);
  static void OnTimer(uv_timer_t* timer);
  static void OnClosed(uv_handle_t* handle);

  Libuv uv_;
  int poller_ = -1;
  Notify notify_;
  void* context_;
  void (*closed_)(void*) = nullptr;
  uv_poll_t poll_{};
  uv_timer_t timer_{};
  int open_handles_ = 1;  // The timer.
};

}  // namespace keepalive
