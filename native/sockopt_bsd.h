// What macOS and FreeBSD have in common; each one's own file has its options.
#pragma once

#include "sockopt.h"

namespace keepalive {

struct BsdOption {
  int level;
  int name;  // kNoSuchOption where the system lacks it
};

constexpr int kNoSuchOption = -1;

extern const BsdOption kBsdOptions[kOptionCount];

}  // namespace keepalive
