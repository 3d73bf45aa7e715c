// Connects to 127.0.0.1, writes a query when a line arrives on standard input, and prints
// how its read ends. argv: the port.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1]))};
  inet_pton(AF_INET, "127.0.0.1", &peer.sin_addr);
  const int socket_ = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(socket_, (struct sockaddr *)&peer, sizeof peer) != 0) return 1;
  printf("ready %d\n", socket_);
  fflush(stdout);
  char line[64];
  if (fgets(line, sizeof line, stdin) == NULL) return 0;
  if (send(socket_, "query", 5, 0) != 5) return 1;
  const ssize_t size = recv(socket_, line, sizeof line, 0);
  printf("%s\n", size >= 0 ? "answer" : errno == ETIMEDOUT ? "ETIMEDOUT" : "another error");
  return 0;
}
