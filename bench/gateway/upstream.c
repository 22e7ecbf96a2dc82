/*
 * The engine of the gateway's measurements: answers every request at once, from one thread, cheaply enough that it is never
 * what is measured. A body with "stream":true gets max_tokens events, one each "user":"us=<microseconds>" after the last;
 * each says when it was sent. Any other gets one JSON answer of about 600 bytes. Must not be exposed to a network: it checks
 * nothing.
 *
 *   upstream PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_REQUEST 65536

typedef struct {
  char *in;
  size_t length;
  int left;          /* events that are still to be sent */
  int is_first;
  uint64_t due_us;
  uint64_t interval_us;
  unsigned epoch;    /* of the connection: a queue entry of an older one is void */
} Connection;

typedef struct {
  int fd;
  unsigned epoch;
} Entry;

static Connection connections[MAX_FDS];
/* All streams of one measurement have the same pace, so that a line in order of arrival is one in order of time. */
static Entry line[MAX_FDS * 2];
static size_t line_head, line_size;

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void close_connection(int fd) {
  close(fd);
  connections[fd].epoch++;
  connections[fd].left = 0;
  connections[fd].length = 0;
}

/* Answers are far smaller than a socket's buffer: what does not fit at once belongs to a client that is stuck. */
static void put(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      usleep(100);
      continue;
    }
    if (sent < 0) return;
    bytes += sent;
    length -= (size_t)sent;
  }
}

static void put_chunk(int fd, const char *text, int length, const char *end) {
  char out[2048];
  int size = snprintf(out, sizeof out, "%x\r\n%.*s\r\n%s", length, length, text, end);
  put(fd, out, (size_t)size);
}

static void send_event(int fd) {
  Connection *c = &connections[fd];
  char text[1024];
  int is_last = c->left == 1;
  int length = snprintf(
      text, sizeof text,
      "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench/model\","
      "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\" t=%llu.\"},\"finish_reason\":%s}]%s}\n\n%s",
      c->is_first ? "\"role\":\"assistant\"," : "", (unsigned long long)now_us(), is_last ? "\"stop\"" : "null",
      is_last ? ",\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":100,\"total_tokens\":120}" : "",
      is_last ? "data: [DONE]\n\n" : "");
  c->is_first = 0;
  c->left--;
  put_chunk(fd, text, length, is_last ? "0\r\n\r\n" : "");
}

static void queue_event(int fd) {
  Entry *entry = &line[(line_head + line_size++) % (MAX_FDS * 2)];
  entry->fd = fd;
  entry->epoch = connections[fd].epoch;
}

static uint64_t number_after(const char *text, const char *key, uint64_t fallback) {
  const char *at = strstr(text, key);
  return at == NULL ? fallback : strtoull(at + strlen(key), NULL, 10);
}

static void answer(int fd, const char *body) {
  static char whole[1024];
  static int whole_length;
  Connection *c = &connections[fd];
  if (strstr(body, "\"stream\":true") != NULL) {
    static const char head[] =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    put(fd, head, sizeof head - 1);
    c->left = (int)number_after(body, "\"max_tokens\":", 10);
    c->interval_us = number_after(body, "\"user\":\"us=", 1000);
    c->is_first = 1;
    c->due_us = now_us() + (uint64_t)rand() % (c->interval_us + 1);
    queue_event(fd);
    return;
  }
  if (whole_length == 0) {
    char json[800];
    int length = snprintf(
        json, sizeof json,
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench/model\",\"choices\":"
        "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%0300d\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":100,\"total_tokens\":120}}",
        7);
    whole_length = snprintf(whole, sizeof whole,
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", length, json);
  }
  put(fd, whole, (size_t)whole_length);
}

/* Whole requests only; a gateway sends its next one after the answer. */
static void read_requests(int fd) {
  Connection *c = &connections[fd];
  if (c->in == NULL) c->in = malloc(MAX_REQUEST + 1);
  ssize_t got = recv(fd, c->in + c->length, MAX_REQUEST - c->length, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    close_connection(fd);
    return;
  }
  c->length += (size_t)got;
  c->in[c->length] = 0;
  char *end = strstr(c->in, "\r\n\r\n");
  if (end == NULL) return;
  char *header = strcasestr(c->in, "\r\ncontent-length:");
  size_t body_length = header == NULL || header > end ? 0 : strtoul(header + 17, NULL, 10);
  char *coding = strcasestr(c->in, "\r\ntransfer-encoding:");
  if (coding != NULL && coding < end) { /* a chunked body: its last chunk ends it */
    if (c->length < 5 || strcmp(c->in + c->length - 5, "0\r\n\r\n") != 0) return;
  } else if (c->length < (size_t)(end + 4 - c->in) + body_length) return;
  c->length = 0;
  answer(fd, end + 4);
}

static int send_due(int *wait_ms) {
  uint64_t now = now_us();
  *wait_ms = 50;
  while (line_size > 0) {
    Entry entry = line[line_head];
    Connection *c = &connections[entry.fd];
    int is_void = entry.epoch != c->epoch || c->left == 0;
    if (!is_void && c->due_us > now) {
      *wait_ms = c->due_us - now > 1000 ? 1 : 0;
      break;
    }
    line_head = (line_head + 1) % (MAX_FDS * 2);
    line_size--;
    if (is_void) continue;
    send_event(entry.fd);
    c->due_us += c->interval_us;
    if (c->left > 0) queue_event(entry.fd);
  }
  return 0;
}

int main(int argc, char **argv) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "0"))};
  socklen_t size = sizeof address;
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 16384) != 0) {
    perror("upstream");
    return 1;
  }
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  int loop = epoll_create1(0), wait_ms = 50;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[1024];
  epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(loop, events, 1024, wait_ms);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd != listener) {
        read_requests(fd);
        continue;
      }
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
          close(fd);
          continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event.events = EPOLLIN;
        event.data.fd = fd;
        connections[fd].length = 0;
        epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
      }
    }
    send_due(&wait_ms);
  }
}
