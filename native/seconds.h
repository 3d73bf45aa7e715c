#pragma once

#include <climits>

namespace keepalive {

// For systems that count in seconds what the contract counts in milliseconds.
// Rounded up: a live peer must not be given up earlier than the caller said.
inline int SecondsFromMilliseconds(int milliseconds) {
  return milliseconds / 1000 + (milliseconds % 1000 != 0 ? 1 : 0);
}

inline int MillisecondsFromSeconds(int seconds) {
  return seconds > INT_MAX / 1000 ? INT_MAX : seconds * 1000;
}

}  // namespace keepalive
