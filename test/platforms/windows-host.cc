// A host for the Windows binary, beside a libnode.dll that has Node's functions, as a Node built
// with --shared has them. It loads the binary, and runs native/sockopt_windows.cc on a Winsock
// that has TCP_MAXRT or TCP_MAXRTMS: wine has neither.
//   host.exe <tcp-keepalive.node> <result file>
#include <winsock2.h>
#include <ws2tcpip.h>

#include <climits>
#include <cstdio>
#include <initializer_list>

namespace {

// Socket 1 is the one that is set; every other is new.
struct {
  int option;  // the one that the system knows
  int initial;
  int value;
} fake;

int Refuse() {
  WSASetLastError(WSAENOPROTOOPT);
  return SOCKET_ERROR;
}

int FakeSet(SOCKET socket, int, int option, const char* value, int) {
  if (option != fake.option || socket != 1) return Refuse();
  fake.value = *reinterpret_cast<const int*>(value);
  return 0;
}

int FakeGet(SOCKET socket, int, int option, char* value, int*) {
  if (option != fake.option) return Refuse();
  *reinterpret_cast<int*>(value) = socket == 1 ? fake.value : fake.initial;
  return 0;
}

}  // namespace

#undef WSASocket
#define setsockopt FakeSet
#define getsockopt FakeGet
#define WSASocketW(...) SOCKET(2)
#define closesocket(socket) 0
#include "../../native/sockopt_windows.cc"

namespace {

// Null, or what is wrong.
const char* TestUserTimeout(int option, int initial) {
  using namespace keepalive;
  const bool seconds = option == TCP_MAXRT;
  fake = {option, initial, initial};
  int read = -2;
  if (GetOption(1, kUserTimeout, &read) != 0 || read != 0) return "a new socket's is not 0";
  if (SetOption(1, kUserTimeout, 5500) != 0 || fake.value != (seconds ? 6 : 5500))
    return "5500 is written wrong";
  if (GetOption(1, kUserTimeout, &read) != 0 || read != (seconds ? 6000 : 5500))
    return "5500 is read wrong";
  if (SetOption(1, kUserTimeout, 0) != 0 || fake.value != initial)
    return "0 does not restore the default";
  fake.value = -1;
  if (GetOption(1, kUserTimeout, &read) != 0 || read != (initial == -1 ? 0 : INT_MAX))
    return "-1 is read wrong";
  return nullptr;
}

}  // namespace

int main(int, char** arguments) {
  const char* wrong = nullptr;
  for (const int option : {TCP_MAXRT, TCP_MAXRTMS})
    for (const int initial : {-1, 0, 21})
      if (wrong == nullptr) wrong = TestUserTimeout(option, initial);
  const bool loads = LoadLibraryA("libnode.dll") != nullptr && LoadLibraryA(arguments[1]) != nullptr;
  FILE* file = fopen(arguments[2], "w");
  if (file == nullptr) return 1;
  fprintf(file, R"({"a host with libnode.dll":"%s","TCP_MAXRT and TCP_MAXRTMS":"%s"})",
          loads ? "works" : "the binary does not load", wrong == nullptr ? "works" : wrong);
  return fclose(file);
}
