// Glue: unpack integers, call, return an integer. Semantic checks and messages are in
// TypeScript; here a wrong argument returns kInvalid.
//
// Mostly raw Node-API: an environment may end during any call (a worker that is terminated
// while it loads this add-on), and node-addon-api ends the process if it cannot throw an error.
#include <napi.h>
#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "find_socket.h"
#include "inspect.h"
#include "sockopt.h"
#include "watcher.h"

namespace keepalive {

namespace {

struct Opened;

// What one environment (the main thread, a worker) owns. Nothing is global.
struct Environment {
  explicit Environment(Napi::Env env) : env(env) {}
  Environment(const Environment&) = delete;
  ~Environment() {
    for (const napi_ref reference : {integers_reference, fields_reference, notify})
      if (reference != nullptr) napi_delete_reference(env, reference);
  }

  Napi::Env env;
  // Numbers that do not fit a return value; src/native.ts holds the views.
  int* integers = nullptr;
  double* fields = nullptr;
  napi_ref integers_reference = nullptr;
  napi_ref fields_reference = nullptr;

  // While something is watched.
  Opened* opened = nullptr;
  napi_ref notify = nullptr;
};

// Enough for every option, and for an address as text.
constexpr size_t kIntegers = 16;

// The arguments of one call.
template <size_t kCount>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kCount;
    ok_ = napi_get_cb_info(env, info, &count, values_, nullptr, nullptr) == napi_ok &&
          count >= kCount;
  }

  // Node-API itself would convert 2^32 + 7 and 7.5 to 7, and NaN to 0.
  bool Integer(size_t index, int* value) const {
    double number = 0;
    if (!ok_ || napi_get_value_double(env_, values_[index], &number) != napi_ok ||
        !(number >= INT32_MIN && number <= INT32_MAX))
      return false;
    *value = static_cast<int>(number);
    return *value == number;
  }

  bool Buffer(size_t index, int** data, size_t* size) const {
    return ok_ && napi_get_arraybuffer_info(env_, values_[index], reinterpret_cast<void**>(data),
                                            size) == napi_ok;
  }

  bool Function(napi_ref* reference) const {
    napi_valuetype type;
    return ok_ && napi_typeof(env_, values_[0], &type) == napi_ok && type == napi_function &&
           napi_create_reference(env_, values_[0], 1, reference) == napi_ok;
  }

  bool Descriptor(Socket* socket) const {
    constexpr double kLimit = sizeof(Socket) == sizeof(int) ? 0x1p31 : 0x1p53;
    double number = 0;
    if (!ok_ || napi_get_value_double(env_, values_[0], &number) != napi_ok ||
        !(number >= 0 && number < kLimit))
      return false;
    *socket = static_cast<Socket>(number);
    return static_cast<double>(*socket) == number;
  }

 private:
  napi_env env_;
  napi_value values_[kCount];
  bool ok_;
};

napi_value Number(napi_env env, int value) {
  napi_value result = nullptr;
  napi_create_int32(env, value, &result);
  return result;
}

Environment* Data(napi_env env) { return Napi::Env(env).GetInstanceData<Environment>(); }

// The refused option is in the bits above the errno: -(option << 16 | errno).
int Refusal(int option, int error) { return -(option << 16 | -error); }

// set(descriptor): option n is in integers[n]; a negative value leaves it unchanged.
napi_value Set(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Socket socket;
  if (!arguments.Descriptor(&socket)) return Number(env, kInvalid);
  const int* values = Data(env)->integers;
  for (int option = 0; option < kOptionCount; option++) {
    if (values[option] < 0) continue;
    const int error = SetOption(socket, static_cast<Option>(option), values[option]);
    if (error < 0) return Number(env, Refusal(option, error));
  }
  return Number(env, 0);
}

// get(descriptor, options): bit n requests option n, which goes to integers[n].
napi_value Get(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Socket socket;
  int options;
  if (!arguments.Descriptor(&socket) || !arguments.Integer(1, &options))
    return Number(env, kInvalid);
  int* integers = Data(env)->integers;
  for (int option = 0; option < kOptionCount; option++) {
    if ((options >> option & 1) == 0) continue;
    const int error = GetOption(socket, static_cast<Option>(option), &integers[option]);
    if (error < 0) return Number(env, Refusal(option, error));
  }
  return Number(env, 0);
}

napi_value Unplug(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Socket socket;
  int unplugged;
  if (!arguments.Descriptor(&socket) || !arguments.Integer(1, &unplugged))
    return Number(env, kInvalid);
  return Number(env, SetUnplugged(socket, unplugged != 0));
}

template <int (*kFunction)(Socket)>
napi_value Ask(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Socket socket;
  if (!arguments.Descriptor(&socket)) return Number(env, kInvalid);
  return Number(env, kFunction(socket));
}

// The address goes to the integers as zero-terminated bytes.
template <int (*kFunction)(Socket, char*, size_t)>
napi_value AskAddress(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Socket socket;
  if (!arguments.Descriptor(&socket)) return Number(env, kInvalid);
  auto* text = reinterpret_cast<char*>(Data(env)->integers);
  return Number(env, kFunction(socket, text, kIntegers * sizeof(int)));
}

napi_value TcpInfo(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Socket socket;
  if (!arguments.Descriptor(&socket)) return Number(env, kInvalid);
  return Number(env, ReadTcpInfo(socket, Data(env)->fields));
}

// sweep(connections, count): one Outstanding for each, which begins with a descriptor. Many
// connections in one call.
napi_value Sweep(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  int* numbers;
  size_t size;
  int count;
  static_assert(sizeof(Outstanding) == kOutstandingFields * sizeof(int));
  if (!arguments.Buffer(0, &numbers, &size) || !arguments.Integer(1, &count) || count < 0 ||
      static_cast<size_t>(count) > size / sizeof(Outstanding))
    return Number(env, kInvalid);
  for (int i = 0; i < count; i++) {
    auto* outstanding = reinterpret_cast<Outstanding*>(&numbers[kOutstandingFields * i]);
    ReadOutstanding(static_cast<Socket>(outstanding->waits), outstanding);
  }
  return Number(env, 0);
}

void Notify(void* context, int descriptor, int ticket) {
  auto* environment = static_cast<Environment*>(context);
  const napi_env env = environment->env;
  const Napi::HandleScope scope(environment->env);
  napi_value global = nullptr;
  napi_value notify = nullptr;
  napi_get_global(env, &global);
  napi_get_reference_value(env, environment->notify, &notify);
  // Like any callback of the event loop: ticks and microtasks run afterwards, and an error is an
  // uncaught exception. Otherwise the next call would throw it.
  const napi_value arguments[] = {Number(env, descriptor), Number(env, ticket)};
  if (napi_make_callback(env, nullptr, global, notify, 2, arguments, nullptr) !=
      napi_pending_exception)
    return;
  napi_value exception = nullptr;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);
}

// When an environment ends, the event loop still uses the watcher: the asynchronous cleanup hook
// delays the end until libuv has closed it.
struct Opened {
  Environment* environment;
  Watcher* watcher;
  napi_async_cleanup_hook_handle cleanup;
};

void Shut(Opened* opened) {
  if (opened->watcher == nullptr) return;
  opened->watcher->Close(
      [](void* data) {
        auto* opened = static_cast<Opened*>(data);
        napi_remove_async_cleanup_hook(opened->cleanup);
        delete opened;
      },
      opened);
  opened->watcher = nullptr;
  opened->environment->opened = nullptr;
}

// open(notify): notify(descriptor, ticket) is called when a watched connection has ended, and
// notify(-1, 0) when the timer has expired.
napi_value Open(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = Data(env);
  napi_ref notify = nullptr;
  if (environment->opened != nullptr || !arguments.Function(&notify)) return Number(env, kInvalid);
  auto* opened = new Opened{environment, nullptr, nullptr};
  const int error = Watcher::Open(env, Notify, environment, &opened->watcher);
  if (error != 0) {
    napi_delete_reference(env, notify);
    delete opened;
    return Number(env, error);
  }
  environment->notify = notify;
  environment->opened = opened;
  napi_add_async_cleanup_hook(
      env, [](napi_async_cleanup_hook_handle, void* data) { Shut(static_cast<Opened*>(data)); },
      opened, &opened->cleanup);
  return Number(env, 0);
}

// shut(): closes what `open` has opened; it can be opened again.
napi_value ShutWatcher(napi_env env, napi_callback_info) {
  Environment* environment = Data(env);
  if (environment->opened == nullptr) return Number(env, kInvalid);
  Shut(environment->opened);
  napi_delete_reference(env, environment->notify);
  environment->notify = nullptr;
  return Number(env, 0);
}

napi_value Watch(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Socket socket;
  int ticket;
  const Opened* opened = Data(env)->opened;
  if (opened == nullptr || !arguments.Descriptor(&socket) || !arguments.Integer(1, &ticket))
    return Number(env, kInvalid);
  return Number(env, opened->watcher->Watch(socket, ticket));
}

napi_value SetTimer(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int milliseconds;
  const Opened* opened = Data(env)->opened;
  if (opened == nullptr || !arguments.Integer(0, &milliseconds) || milliseconds < 0)
    return Number(env, kInvalid);
  return Number(env, opened->watcher->SetTimer(milliseconds));
}

napi_value Capabilities(napi_env env, napi_callback_info) {
  return Number(env, FindCapabilities());
}

// now(): milliseconds of a monotonic clock.
napi_value Now(napi_env env, napi_callback_info) {
  napi_value result = nullptr;
  napi_create_int64(env, Milliseconds(), &result);
  return result;
}

#if !defined(_WIN32)
// close(descriptor): for Deno, which creates a new descriptor at every call.
int CloseDescriptor(Socket socket) { return close(socket) == 0 ? 0 : -errno; }
#endif

#if defined(__linux__)
// takeDescriptor(process, descriptor): `process` is a result of openProcess.
napi_value Take(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Socket process;
  int descriptor;
  if (!arguments.Descriptor(&process) || !arguments.Integer(1, &descriptor))
    return Number(env, kInvalid);
  return Number(env, TakeDescriptor(process, descriptor));
}
#endif

#if defined(_WIN32)
// findSocket(localAddress, localPort, remoteAddress, remotePort): the addresses as
// Node reports them, '' for a listener's remote one. Returns the descriptor.
napi_value FindSocketByAddress(napi_env env, napi_callback_info info) {
  napi_value values[4];
  size_t count = 4;
  char local[64], remote[64];
  int local_port, remote_port;
  Socket socket = 0;
  if (napi_get_cb_info(env, info, &count, values, nullptr, nullptr) != napi_ok || count < 4 ||
      napi_get_value_string_utf8(env, values[0], local, sizeof local, nullptr) != napi_ok ||
      napi_get_value_int32(env, values[1], &local_port) != napi_ok ||
      napi_get_value_string_utf8(env, values[2], remote, sizeof remote, nullptr) != napi_ok ||
      napi_get_value_int32(env, values[3], &remote_port) != napi_ok)
    return Number(env, kInvalid);
  const int error = FindSocket(env, local, local_port, remote, remote_port, &socket);
  if (error < 0) return Number(env, error);
  napi_value result = nullptr;
  napi_create_int64(env, static_cast<int64_t>(socket), &result);
  return result;
}
#endif

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function) == napi_ok)
    napi_set_named_property(env, exports, name, function);
}

// Memory shared with JavaScript, for as long as the reference exists.
template <typename T>
bool Share(napi_env env, napi_value exports, const char* name, size_t count, T** data,
           napi_ref* reference) {
  napi_value buffer = nullptr;
  return napi_create_arraybuffer(env, count * sizeof(T), reinterpret_cast<void**>(data), &buffer) ==
             napi_ok &&
         napi_create_reference(env, buffer, 1, reference) == napi_ok &&
         napi_set_named_property(env, exports, name, buffer) == napi_ok;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment(env);
  env.SetInstanceData(environment);
  // Functions are exported only if the memory that they use exists.
  if (!Share(env, exports, "integers", kIntegers, &environment->integers,
             &environment->integers_reference) ||
      !Share(env, exports, "fields", kTcpInfoFields, &environment->fields,
             &environment->fields_reference))
    return exports;
  Export(env, exports, "set", Set);
  Export(env, exports, "get", Get);
  Export(env, exports, "takeError", Ask<TakeError>);
  Export(env, exports, "sweep", Sweep);
  Export(env, exports, "peerAddress", AskAddress<ReadPeerAddress>);
  Export(env, exports, "tcpInfo", TcpInfo);
  Export(env, exports, "unplug", Unplug);
  Export(env, exports, "capabilities", Capabilities);
  Export(env, exports, "watch", Watch);
  Export(env, exports, "open", Open);
  Export(env, exports, "shut", ShutWatcher);
  Export(env, exports, "setTimer", SetTimer);
  Export(env, exports, "now", Now);
  Export(env, exports, "unread", Ask<CountUnread>);
#if defined(__linux__)
  Export(env, exports, "openProcess", Ask<OpenProcess>);
  Export(env, exports, "takeDescriptor", Take);
  Export(env, exports, "localAddress", AskAddress<ReadLocalAddress>);
  Export(env, exports, "unacknowledged", Ask<CountUnacknowledged>);
#endif
#if defined(_WIN32)
  Export(env, exports, "findSocket", FindSocketByAddress);
#else
  Export(env, exports, "close", Ask<CloseDescriptor>);
#endif
  return exports;
}

}  // namespace

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)

}  // namespace keepalive
