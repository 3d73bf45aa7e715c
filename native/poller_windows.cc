// Not available: uv_poll on Windows reports the end of a connection only together with
// readable data, which would wake the loop continuously while the socket is not being read.
#include "poller.h"

namespace keepalive {

int OpenPoller() { return kUnavailable; }
void ClosePoller(int) {}
int AddToPoller(int, Socket, int) { return kUnavailable; }
int TakeNotices(int, Notice*) { return 0; }

}  // namespace keepalive
