// What only `inspect` and `set` ask, beside sockopt.h and by the same contract. Linux only.
#pragma once

#include "sockopt.h"

namespace keepalive {

// A descriptor that stands for the process, and for no other that gets its number later.
int OpenProcess(int pid);

// A descriptor of our own for the same open file. Until it is closed, the file stays open even
// if the other process closes its own.
int TakeDescriptor(int process, int descriptor);

// This end's address as text. Returns the port.
int ReadLocalAddress(Socket socket, char* text, size_t size);

// The bytes that were written and that the peer has not acknowledged, sent or not.
int CountUnacknowledged(Socket socket);

}  // namespace keepalive
