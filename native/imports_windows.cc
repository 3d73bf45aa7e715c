// For prebuilds only: what a Windows binary needs without other libraries, and the
// Node-API functions that binding.cc calls.
//
// An import library would name NODE.EXE, and a host with another name (Electron,
// bun.exe) would not load the add-on. The compiler calls an imported function
// through a pointer named __imp_…: here are those pointers, filled when the DLL is
// loaded. A function missing in this list is a linker error.
#include <cstdint>
#include <cstdlib>

#include "host.h"

#define FUNCTIONS(_)                   \
  _(napi_add_async_cleanup_hook)       \
  _(napi_close_handle_scope)           \
  _(napi_create_arraybuffer)           \
  _(napi_create_error)                 \
  _(napi_create_function)              \
  _(napi_create_int32)                 \
  _(napi_create_int64)                 \
  _(napi_create_object)                \
  _(napi_create_reference)             \
  _(napi_create_string_utf8)           \
  _(napi_create_type_error)            \
  _(napi_define_properties)            \
  _(napi_delete_reference)             \
  _(napi_fatal_error)                  \
  _(napi_fatal_exception)              \
  _(napi_get_and_clear_last_exception) \
  _(napi_get_arraybuffer_info)         \
  _(napi_get_cb_info)                  \
  _(napi_get_global)                   \
  _(napi_get_instance_data)            \
  _(napi_get_last_error_info)          \
  _(napi_get_property)                 \
  _(napi_get_reference_value)          \
  _(napi_get_uv_event_loop)            \
  _(napi_get_value_double)             \
  _(napi_get_value_int32)              \
  _(napi_get_value_string_utf8)        \
  _(napi_has_property)                 \
  _(napi_is_exception_pending)         \
  _(napi_make_callback)                \
  _(napi_open_handle_scope)            \
  _(napi_remove_async_cleanup_hook)    \
  _(napi_set_instance_data)            \
  _(napi_set_named_property)           \
  _(napi_throw)                        \
  _(napi_typeof)

#define POINTER(name) extern "C" void* __imp_##name = nullptr;
FUNCTIONS(POINTER)

extern "C" uintptr_t __stack_chk_guard = 0;
extern "C" [[noreturn]] void __stack_chk_fail() { abort(); }

// The DLL's entry point. There is no C run-time library to start: nothing here has a
// constructor. If one of the functions is missing, loading fails.
extern "C" __attribute__((no_stack_protector)) BOOL WINAPI DllMainCRTStartup(HINSTANCE instance,
                                                                             DWORD reason, void*) {
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  LARGE_INTEGER ticks;
  QueryPerformanceCounter(&ticks);
  // Unpredictable from outside: two addresses that the system chooses, and a time.
  __stack_chk_guard = reinterpret_cast<uintptr_t>(instance) ^ reinterpret_cast<uintptr_t>(&ticks) ^
                      static_cast<uintptr_t>(ticks.QuadPart) * 0x9e3779b97f4a7c15;
  bool found = true;
#define FIND(name) found = keepalive::FindInHost(#name, &__imp_##name) && found;
  FUNCTIONS(FIND)
  return found;
}
