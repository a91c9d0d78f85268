/* An upstream that costs next to nothing: it answers every order for a picture with the bytes of a file.
 *
 *   cc -O2 -o fake_upstream fake_upstream.c
 *   ./fake_upstream PORT NAME=FILE [NAME=FILE ...]
 *
 * POST /NAME/…       200, application/json, the bytes of FILE
 * POST /NAME-dMS/…   the same, MS milliseconds later
 * GET  /stats        {"served": N}, the POSTs answered
 *
 * One thread and epoll; HTTP/1.1 with kept connections; requests of at most 64 KiB with a Content-Length or in chunks.
 * Large bodies are sent by sendfile() out of a memfd, so no byte of them passes through this process. Linux only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REQUEST = 65536, MAX_PAYLOADS = 16, MAX_CONNECTIONS = 65536, EVENTS = 256, HEAD = 256 };

struct payload {
  char name[32];
  int file;
  off_t length;
};

/* `head` is sent first, then the file of `payload`, if there is one. */
struct connection {
  int socket;
  bool answering, waiting, closes, is_full;
  char request[MAX_REQUEST];
  size_t received;
  char head[HEAD];
  size_t head_length, head_sent;
  const struct payload *payload;
  off_t body_sent;
  double due;
  struct connection *next_due;
};

static struct payload payloads[MAX_PAYLOADS];
static int payload_count;
static struct connection *connections[MAX_CONNECTIONS];
static struct connection *first_due;
static unsigned long served;
static int poller;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* --- answers that are due later ---------------------------------------------------------------------------------- */

static void wait_until(struct connection *connection, double due) {
  struct connection **place = &first_due;
  while (*place != NULL && (*place)->due <= due) place = &(*place)->next_due;
  connection->due = due;
  connection->waiting = true;
  connection->next_due = *place;
  *place = connection;
}

static void forget_due(struct connection *connection) {
  for (struct connection **place = &first_due; *place != NULL; place = &(*place)->next_due) {
    if (*place == connection) {
      *place = connection->next_due;
      return;
    }
  }
}

/* --- connections ------------------------------------------------------------------------------------------------- */

static void watch(const struct connection *connection, int operation, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = connection->socket};
  if (epoll_ctl(poller, operation, connection->socket, &event) != 0) fail("epoll_ctl");
}

static void hang_up(struct connection *connection) {
  if (connection->waiting) forget_due(connection);
  connections[connection->socket] = NULL;
  close(connection->socket);
  free(connection);
}

static void accept_all(int listener) {
  int socket, on = 1;
  while ((socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct connection *connection = socket < MAX_CONNECTIONS ? calloc(1, sizeof *connection) : NULL;
    if (connection == NULL) {
      close(socket);
      continue;
    }
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->socket = socket;
    connections[socket] = connection;
    watch(connection, EPOLL_CTL_ADD, EPOLLIN);
  }
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static void answer_text(struct connection *connection, const char *status, const char *text) {
  connection->payload = NULL;
  connection->head_length = (size_t)snprintf(connection->head, HEAD,
      "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", status, strlen(text), text);
}

static void answer_payload(struct connection *connection, const struct payload *payload) {
  served++;
  connection->payload = payload;
  connection->head_length = (size_t)snprintf(connection->head, HEAD,
      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %lld\r\n\r\n", (long long)payload->length);
}

/* Decide on the answer by the path. Returns the seconds until it is due. */
static double answer_post(struct connection *connection, const char *path) {
  char name[64] = "";
  sscanf(path, "/%63[^/ ]", name);
  char *delay = strstr(name, "-d");
  double seconds = delay == NULL ? 0 : atof(delay + 2) / 1e3;
  if (delay != NULL) *delay = '\0';
  for (int index = 0; index < payload_count; index++) {
    if (strcmp(payloads[index].name, name) == 0) {
      answer_payload(connection, &payloads[index]);
      return seconds;
    }
  }
  answer_text(connection, "404 Not Found", "{\"error\":{\"message\":\"no such payload\"}}");
  return 0;
}

/* 1: all is sent, 0: the socket is full, -1: the client is gone. */
static int send_answer(struct connection *connection) {
  while (connection->head_sent < connection->head_length) {
    int flags = MSG_NOSIGNAL | (connection->payload != NULL ? MSG_MORE : 0);
    ssize_t sent = send(connection->socket, connection->head + connection->head_sent,
                        connection->head_length - connection->head_sent, flags);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    connection->head_sent += (size_t)sent;
  }
  while (connection->payload != NULL && connection->body_sent < connection->payload->length) {
    size_t left = (size_t)(connection->payload->length - connection->body_sent);
    if (sendfile(connection->socket, connection->payload->file, &connection->body_sent, left) < 0)
      return errno == EAGAIN ? 0 : -1;
  }
  return 1;
}

/* --- requests ---------------------------------------------------------------------------------------------------- */

/* The value of a header in the head of `length` bytes, or NULL. */
static const char *header(const char *head, size_t length, const char *name) {
  const char *end = head + length;
  for (const char *line = head; line < end;) {
    const char *line_end = memmem(line, (size_t)(end - line), "\r\n", 2);
    if (strncasecmp(line, name, strlen(name)) == 0) return line + strlen(name);
    if (line_end == NULL) return NULL;
    line = line_end + 2;
  }
  return NULL;
}

/* The length of the first request if it is all there, 0 if not yet, -1 if it never will be. */
static long request_length(struct connection *connection) {
  const char *end = memmem(connection->request, connection->received, "\r\n\r\n", 4);
  bool full = connection->received == MAX_REQUEST;
  if (end == NULL) return full ? -1 : 0;
  size_t head = (size_t)(end - connection->request) + 4;
  const char *value = header(connection->request, head, "connection:");
  connection->closes = value != NULL && strncasecmp(value + strspn(value, " "), "close", 5) == 0;
  size_t whole = head;
  if ((value = header(connection->request, head, "content-length:")) != NULL) {
    whole += strtoul(value, NULL, 10);
  } else if (header(connection->request, head, "transfer-encoding:") != NULL) {
    const char *last = memmem(end + 2, connection->received - head + 2, "\r\n0\r\n\r\n", 7);
    if (last == NULL) return full ? -1 : 0;
    whole = (size_t)(last - connection->request) + 7;
  }
  if (whole > MAX_REQUEST) return -1;
  return whole <= connection->received ? (long)whole : 0;
}

/* Answer what has been received, one request after the other. -1: hang up. */
static int go_on(struct connection *connection) {
  for (;;) {
    if (connection->waiting) return 0;
    if (connection->answering) {
      int done = send_answer(connection);
      if (done < 0) return -1;
      if (connection->is_full == (bool)done) {
        connection->is_full = !done;
        watch(connection, EPOLL_CTL_MOD, done ? EPOLLIN : EPOLLIN | EPOLLOUT);
      }
      if (!done) return 0;
      if (connection->closes) return -1;
      connection->answering = false;
    }
    long length = request_length(connection);
    if (length <= 0) return (int)length;
    double seconds = 0;
    if (strncmp(connection->request, "POST ", 5) == 0) {
      seconds = answer_post(connection, connection->request + 5);
    } else {
      char text[64];
      snprintf(text, sizeof text, "{\"served\": %lu}", served);
      answer_text(connection, "200 OK", text);
    }
    connection->received -= (size_t)length;
    memmove(connection->request, connection->request + length, connection->received);
    connection->head_sent = 0;
    connection->body_sent = 0;
    connection->answering = true;
    if (seconds > 0) wait_until(connection, now() + seconds);
  }
}

/* Take in what the client sends. -1: it is gone. */
static int receive(struct connection *connection) {
  while (connection->received < MAX_REQUEST) {
    ssize_t got = recv(connection->socket, connection->request + connection->received,
                       MAX_REQUEST - connection->received, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) return -1;
    connection->received += (size_t)got;
  }
  return 0;
}

/* --- the process ------------------------------------------------------------------------------------------------- */

static void load(const char *argument) {
  const char *equals = strchr(argument, '=');
  if (equals == NULL || payload_count == MAX_PAYLOADS) {
    fprintf(stderr, "not NAME=FILE, or too many: %s\n", argument);
    exit(2);
  }
  struct payload *payload = &payloads[payload_count++];
  snprintf(payload->name, sizeof payload->name, "%.*s", (int)(equals - argument), argument);
  int file = open(equals + 1, O_RDONLY | O_CLOEXEC);
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0) fail(equals + 1);
  payload->length = facts.st_size;
  payload->file = memfd_create(payload->name, MFD_CLOEXEC);
  if (payload->file < 0) fail("memfd_create");
  for (off_t copied = 0; copied < payload->length;)
    if (sendfile(payload->file, file, &copied, (size_t)(payload->length - copied)) <= 0) fail("sendfile");
  close(file);
}

static int listen_on(const char *port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  address.sin_port = htons((unsigned short)atoi(port));
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4096) != 0) fail("listen");
  return listener;
}

static int milliseconds_to_wait(void) {
  if (first_due == NULL) return -1;
  double left = (first_due->due - now()) * 1e3;
  return left > 0 ? (int)left + 1 : 0;
}

static void answer_due(void) {
  double time = now();
  while (first_due != NULL && first_due->due <= time) {
    struct connection *connection = first_due;
    first_due = connection->next_due;
    connection->waiting = false;
    if (go_on(connection) < 0) hang_up(connection);
  }
}

int main(int count, char **arguments) {
  if (count < 3) {
    fprintf(stderr, "usage: %s PORT NAME=FILE [NAME=FILE ...]\n", arguments[0]);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  for (int index = 2; index < count; index++) load(arguments[index]);
  int listener = listen_on(arguments[1]);
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
  if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll_ctl");
  for (;;) {
    int ready = epoll_wait(poller, events, EVENTS, milliseconds_to_wait());
    answer_due();
    for (int index = 0; index < ready; index++) {
      if (events[index].data.fd == listener) {
        accept_all(listener);
        continue;
      }
      struct connection *connection = connections[events[index].data.fd];
      if (connection == NULL) continue;
      bool is_gone = (events[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && receive(connection) < 0;
      if (is_gone || go_on(connection) < 0) hang_up(connection);
    }
  }
}
