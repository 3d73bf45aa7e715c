// Functions for `inspect` and `set` only, with the same contract as sockopt.h. Linux only.
#pragma once

#include "sockopt.h"

namespace keepalive {

// A descriptor of the process (a pidfd), which never refers to a later process with the same
// number.
int OpenProcess(int pid);

// Duplicates a descriptor of that process. Until the duplicate is closed, the file stays open even
// if the other process closes its own descriptor.
int TakeDescriptor(int process, int descriptor);

// The local address as text. Returns the port.
int ReadLocalAddress(Socket socket, char* text, size_t size);

// The number of written bytes that the peer has not acknowledged, sent or not.
int CountUnacknowledged(Socket socket);

}  // namespace keepalive
