#include "watcher.h"

#include <new>

namespace keepalive {

bool Watcher::Libuv::Load() {
  return FindInHost("uv_poll_init", &poll_init) && FindInHost("uv_poll_start", &poll_start) &&
         FindInHost("uv_timer_init", &timer_init) && FindInHost("uv_timer_start", &timer_start) &&
         FindInHost("uv_update_time", &update_time) && FindInHost("uv_unref", &unref) &&
         FindInHost("uv_close", &close);
}

int Watcher::Open(napi_env env, Notify notify, void* context, Watcher** watcher) {
  Libuv uv;
  uv_loop_t* loop = nullptr;
  if (!uv.Load() || napi_get_uv_event_loop(env, &loop) != napi_ok) return kUnavailable;
  auto* self = new (std::nothrow) Watcher(uv, notify, context);
  if (self == nullptr) return UV_ENOMEM;
  uv.timer_init(loop, &self->timer_);
  self->timer_.data = self;
  uv.unref(reinterpret_cast<uv_handle_t*>(&self->timer_));
  *watcher = self;
  return 0;
}

int Watcher::Watch(Socket socket, int ticket) {
  const int error = poller_ < 0 ? OpenPoll() : 0;
  return error < 0 ? error : AddToPoller(poller_, socket, ticket);
}

int Watcher::OpenPoll() {
  const int poller = OpenPoller();
  if (poller < 0) return poller;
  const int error = uv_.poll_init(timer_.loop, &poll_, poller);
  if (error != 0) {
    ClosePoller(poller);
    return error;
  }
  poller_ = poller;
  open_handles_++;
  poll_.data = this;
  uv_.unref(reinterpret_cast<uv_handle_t*>(&poll_));
  return uv_.poll_start(&poll_, UV_READABLE, OnReadable);
}

int Watcher::SetTimer(int milliseconds) {
  // The loop's cached time does not advance while JavaScript runs.
  uv_.update_time(timer_.loop);
  return uv_.timer_start(&timer_, OnTimer, static_cast<uint64_t>(milliseconds), 0);
}

void Watcher::Close(void (*closed)(void*), void* context) {
  closed_ = closed;
  context_ = context;
  notify_ = nullptr;
  if (poller_ >= 0) uv_.close(reinterpret_cast<uv_handle_t*>(&poll_), OnClosed);
  uv_.close(reinterpret_cast<uv_handle_t*>(&timer_), OnClosed);
}

void Watcher::OnClosed(uv_handle_t* handle) {
  auto* self = static_cast<Watcher*>(handle->data);
  if (--self->open_handles_ > 0) return;
  if (self->poller_ >= 0) ClosePoller(self->poller_);
  self->closed_(self->context_);
  delete self;
}

void Watcher::OnReadable(uv_poll_t* poll, int, int) {
  auto* self = static_cast<Watcher*>(poll->data);
  Notice notices[kMaxNotices];
  // The rest is reported in the next iteration of the loop: the poller stays readable.
  const int count = TakeNotices(self->poller_, notices);
  // A callback may close this watcher.
  for (int i = 0; i < count && self->notify_ != nullptr; i++)
    self->notify_(self->context_, notices[i].descriptor, notices[i].ticket);
}

void Watcher::OnTimer(uv_timer_t* timer) {
  auto* self = static_cast<Watcher*>(timer->data);
  if (self->notify_ != nullptr) self->notify_(self->context_, kTimer, 0);
}

}  // namespace keepalive
