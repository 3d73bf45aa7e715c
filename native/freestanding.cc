// For prebuilds only: the few functions that the compiler needs from the C++ library,
// so that a binary depends on libc only and loads with any libstdc++.
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
// Replaces libSystem's, which would be the only function called through a stub, and a
// stub costs a page of 16 KB.
extern "C" [[noreturn]] void __stack_chk_fail() { abort(); }
#endif
