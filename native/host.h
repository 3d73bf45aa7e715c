// Functions that belong to the host: Node, Electron, Bun.
//
// They are looked up instead of linked, so that the add-on also loads in a host
// that lacks libuv, or that is not called node.exe.
#pragma once

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace keepalive {

template <typename Function>
bool FindInHost(const char* name, Function* function) {
#if defined(_WIN32)
  void* address = reinterpret_cast<void*>(GetProcAddress(GetModuleHandleW(nullptr), name));
#else
  void* address = dlsym(RTLD_DEFAULT, name);
#endif
  *function = reinterpret_cast<Function>(address);
  return address != nullptr;
}

}  // namespace keepalive
