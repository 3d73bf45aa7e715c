// What Debian's libstdc++ and Node's builds need of glibc and musl does not have, so that Bun's
// musl build (made for Alpine, where libstdc++ is musl's own) and Node's glibc builds run on
// Debian's `musl` package.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

char __libc_single_threaded = 0;
int __cpu_model[4];
int __cpu_indicator_init(void) { return 0; }
// "Not found": libgcc then asks dl_iterate_phdr, which musl has.
int _dl_find_object(void* address, void* result) { return -1; }
int __cxa_thread_atexit_impl(void (*function)(void*), void* object, void* dso) { return 0; }
unsigned arc4random(void) {
  unsigned value;
  getrandom(&value, sizeof value, 0);
  return value;
}
size_t __strftime_l(char* text, size_t size, const char* format, const struct tm* time,
                    locale_t locale) {
  return strftime_l(text, size, format, time, locale);
}

// Node's from here on. V8 looks for the start of the main thread's stack, which the environment
// lies above; the variable is Node's copy by now, and read-only.
extern char** environ;
void* __libc_stack_end;
__attribute__((constructor)) static void find_stack_end(void) {
  void* page = (void*)((unsigned long)&__libc_stack_end & -4096ul);
  mprotect(page, 4096, PROT_READ | PROT_WRITE);
  __libc_stack_end = environ;
}
int __register_atfork(void (*before)(void), void (*parent)(void), void (*child)(void), void* dso) {
  return pthread_atfork(before, parent, child);
}
int fcntl64(int descriptor, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  return fcntl(descriptor, command, argument);
}
const char* gnu_get_libc_version(void) { return "2.28"; }
// For traces of a crash, and OpenSSL's asynchronous engines: neither is used here.
int backtrace(void** buffer, int size) { return 0; }
char** backtrace_symbols(void* const* buffer, int size) { return NULL; }
void backtrace_symbols_fd(void* const* buffer, int size, int descriptor) {}
int getcontext(void* context) { return errno = ENOSYS, -1; }
int setcontext(const void* context) { return errno = ENOSYS, -1; }
void makecontext(void* context, void (*function)(void), int count, ...) {}
