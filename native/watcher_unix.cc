// A poller (epoll, kqueue) of our own, itself polled by the event loop.
//
// libuv stops polling a socket that nobody reads, and so never hears of its death.
#include <unistd.h>
#include <uv.h>

#include <new>

#include "host.h"
#include "poller.h"

namespace keepalive {

namespace {

struct Libuv {
  decltype(&uv_poll_init) poll_init;
  decltype(&uv_poll_start) poll_start;
  decltype(&uv_unref) unref;
  decltype(&uv_close) close;

  bool Load() {
    return FindInHost("uv_poll_init", &poll_init) && FindInHost("uv_poll_start", &poll_start) &&
           FindInHost("uv_unref", &unref) && FindInHost("uv_close", &close);
  }
};

class PollWatcher final : public Watcher {
 public:
  static int Open(napi_env env, Notify notify, void* context, Watcher** result) {
    Libuv uv;
    uv_loop_t* loop = nullptr;
    if (!uv.Load() || napi_get_uv_event_loop(env, &loop) != napi_ok) return kUnavailable;
    const int poller = OpenPoller();
    if (poller < 0) return poller;
    auto* watcher = new (std::nothrow) PollWatcher(uv, poller, notify, context);
    int error = watcher == nullptr ? UV_ENOMEM : uv.poll_init(loop, &watcher->poll_, poller);
    if (error != 0) {
      delete watcher;
      close(poller);
      return error;
    }
    watcher->poll_.data = watcher;
    error = uv.poll_start(&watcher->poll_, UV_READABLE, OnReadable);
    uv.unref(reinterpret_cast<uv_handle_t*>(&watcher->poll_));
    if (error != 0) {
      watcher->Close(nullptr, nullptr);
      return error;
    }
    *result = watcher;
    return 0;
  }

  int Watch(int socket, int ticket) const { return AddToPoller(poller_, socket, ticket); }

  void Close(void (*closed)(void*), void* context) {
    closed_ = closed;
    context_ = context;
    uv_.close(reinterpret_cast<uv_handle_t*>(&poll_), OnClosed);
  }

 private:
  PollWatcher(const Libuv& uv, int poller, Notify notify, void* context)
      : uv_(uv), poller_(poller), notify_(notify), context_(context) {}

  static void OnReadable(uv_poll_t* poll, int, int) {
    auto* self = static_cast<PollWatcher*>(poll->data);
    Notice notices[kMaxNotices];
    // What does not fit is told in the loop's next turn: the poller stays readable.
    const int count = TakeNotices(self->poller_, notices);
    if (count > 0) self->notify_(self->context_, notices, count);
  }

  static void OnClosed(uv_handle_t* handle) {
    auto* self = static_cast<PollWatcher*>(handle->data);
    close(self->poller_);
    if (self->closed_ != nullptr) self->closed_(self->context_);
    delete self;
  }

  Libuv uv_;
  int poller_;
  Notify notify_;
  void* context_;
  void (*closed_)(void*) = nullptr;
  uv_poll_t poll_{};
};

}  // namespace

int Watcher::Open(napi_env env, Notify notify, void* context, Watcher** watcher) {
  return PollWatcher::Open(env, notify, context, watcher);
}

int Watcher::Watch(int socket, int ticket) {
  return static_cast<PollWatcher*>(this)->Watch(socket, ticket);
}

void Watcher::Close(void (*closed)(void*), void* context) {
  static_cast<PollWatcher*>(this)->Close(closed, context);
}

}  // namespace keepalive
