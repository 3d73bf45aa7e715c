// An epoll instance of our own, itself polled by the event loop.
//
// libuv stops polling a socket that nobody reads, and so never hears of its
// death. A second epoll may hold the same descriptors; EPOLLERR and EPOLLHUP
// are reported without being asked for, so it asks for nothing else and stays
// silent for the whole life of a healthy connection. Edge-triggered, because
// one notice per death is enough. A closed descriptor leaves by itself.
#include <dlfcn.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <new>

#include "watcher.h"

namespace tcp_keepalive {

namespace {

// libuv's functions belong to the host. They are looked up instead of linked,
// so that the add-on also loads in a runtime that has none.
struct Libuv {
  decltype(&uv_poll_init) poll_init;
  decltype(&uv_poll_start) poll_start;
  decltype(&uv_unref) unref;
  decltype(&uv_close) close;

  bool Load() {
    return Find("uv_poll_init", &poll_init) && Find("uv_poll_start", &poll_start) &&
           Find("uv_unref", &unref) && Find("uv_close", &close);
  }

 private:
  template <typename Function>
  static bool Find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
    return *function != nullptr;
  }
};

class EpollWatcher final : public Watcher {
 public:
  static int Open(napi_env env, Notify notify, void* context, Watcher** result) {
    Libuv uv;
    uv_loop_t* loop = nullptr;
    if (!uv.Load() || napi_get_uv_event_loop(env, &loop) != napi_ok) return -ENOSYS;
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) return -errno;
    auto* watcher = new (std::nothrow) EpollWatcher(uv, epoll, notify, context);
    int error = watcher == nullptr ? -ENOMEM : uv.poll_init(loop, &watcher->poll_, epoll);
    if (error != 0) {
      delete watcher;
      close(epoll);
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

  int Watch(int socket, int ticket) override {
    epoll_event event{};
    event.events = EPOLLET;
    event.data.u64 = static_cast<uint64_t>(static_cast<uint32_t>(ticket)) << 32 |
                     static_cast<uint32_t>(socket);
    return epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) == 0 ? 0 : -errno;
  }

  void Close(void (*closed)(void*), void* context) override {
    closed_ = closed;
    context_ = context;
    uv_.close(reinterpret_cast<uv_handle_t*>(&poll_), OnClosed);
  }

 private:
  EpollWatcher(const Libuv& uv, int epoll, Notify notify, void* context)
      : uv_(uv), epoll_(epoll), notify_(notify), context_(context) {}

  static void OnReadable(uv_poll_t* poll, int, int) {
    auto* self = static_cast<EpollWatcher*>(poll->data);
    epoll_event events[kMaxNotices];
    Notice notices[kMaxNotices];
    // What does not fit is told in the loop's next turn: the epoll stays readable.
    const int count = epoll_wait(self->epoll_, events, kMaxNotices, 0);
    for (int i = 0; i < count; i++) {
      notices[i].descriptor = static_cast<int>(events[i].data.u64 & 0xffffffff);
      notices[i].ticket = static_cast<int>(events[i].data.u64 >> 32);
    }
    if (count > 0) self->notify_(self->context_, notices, count);
  }

  static void OnClosed(uv_handle_t* handle) {
    auto* self = static_cast<EpollWatcher*>(handle->data);
    close(self->epoll_);
    if (self->closed_ != nullptr) self->closed_(self->context_);
    delete self;
  }

  Libuv uv_;
  int epoll_;
  Notify notify_;
  void* context_;
  void (*closed_)(void*) = nullptr;
  uv_poll_t poll_{};
};

}  // namespace

int Watcher::Open(napi_env env, Notify notify, void* context, Watcher** watcher) {
  return EpollWatcher::Open(env, notify, context, watcher);
}

}  // namespace tcp_keepalive
