// What Debian's libstdc++ asks of glibc and musl has not, so that Bun's musl build
// (made for Alpine, where libstdc++ is musl's own) runs on Debian's `musl` package.
#include <stdlib.h>
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
