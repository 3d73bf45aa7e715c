// pidfd_open(2), Linux 5.3; pidfd_getfd(2), Linux 5.6. No libc has functions for both.
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "address.h"
#include "inspect.h"

// Older headers lack them. The numbers are the same on every architecture that has a binary.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace keepalive {

namespace {

int Result(long result) { return result < 0 ? -errno : static_cast<int>(result); }

}  // namespace

int OpenProcess(int pid) { return Result(syscall(SYS_pidfd_open, pid, 0)); }

int TakeDescriptor(int process, int descriptor) {
  return Result(syscall(SYS_pidfd_getfd, process, descriptor, 0));
}

int ReadLocalAddress(int socket, char* text, size_t size) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return -errno;
  return AddressText(address, text, size);
}

int CountUnacknowledged(int socket) {
  int count = 0;
  return ioctl(socket, SIOCOUTQ, &count) == 0 ? count : -errno;
}

}  // namespace keepalive
