// Functions that belong to the host: Node, Electron, Bun.
//
// They are looked up instead of linked, so that the add-on also loads in a host
// that lacks libuv, or that is not called node.exe.
//
// A Node that was built with --shared has them in libnode.dll. As in node-gyp, that one comes
// first: a program that embeds it may have a libuv of its own.
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
  const HMODULE library = GetModuleHandleW(L"libnode.dll");
  const HMODULE module = library == nullptr ? GetModuleHandleW(nullptr) : library;
  void* address = reinterpret_cast<void*>(GetProcAddress(module, name));
#else
  void* address = dlsym(RTLD_DEFAULT, name);
#endif
  *function = reinterpret_cast<Function>(address);
  return address != nullptr;
}

}  // namespace keepalive
