// For prebuilds only: the few things that the compiler takes from the C++ library,
// so that a binary needs libc alone and loads whatever libstdc++ a host has.
#include <cstdlib>
#include <new>

const std::nothrow_t std::nothrow{};

void* operator new(size_t size) {
  void* memory = malloc(size);
  if (memory == nullptr) abort();
  return memory;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return malloc(size); }
void* operator new[](size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }

#if defined(__APPLE__)
// One of our own instead of libSystem's, which would be the only function left that
// is called through a stub, and a stub costs a page of 16 KB.
extern "C" [[noreturn]] void __stack_chk_fail() { abort(); }
#endif
