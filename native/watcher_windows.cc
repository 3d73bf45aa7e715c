// Not available: uv_poll on Windows reports the end of a connection only together
// with readable data, which would wake the loop without end while nobody reads.
#include "watcher.h"

namespace keepalive {

int Watcher::Open(napi_env, Notify, void*, Watcher**) { return kUnavailable; }
int Watcher::Watch(Socket, int) { return kUnavailable; }
void Watcher::Close(void (*)(void*), void*) {}

}  // namespace keepalive
