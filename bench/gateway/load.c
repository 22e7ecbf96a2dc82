/*
 * The clients of the gateway's measurements, in one thread. Sends the same request over and over on kept connections and
 * reads every answer to its end; prints one line of JSON.
 *
 *   load PORT REQUEST_FILE CONNECTIONS SECONDS RATE EVENTS
 *
 * RATE is requests a second, at times fixed beforehand so that a slow server is not asked less; 0: each connection asks again
 * at once. EVENTS is how many events each answer must have, 0 for answers that are no streams; the time an event took is
 * read from what upstream.c wrote into it.
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

#define BUFFER 262144
#define BUCKETS 400000 /* of 10 microseconds: 4 seconds */

typedef struct {
  int fd;
  char *in;
  size_t length;
  int is_busy;
  int has_head;
  int is_chunked;
  size_t left; /* bytes of a body with a length */
  int events;
  int is_done;
  uint64_t asked_us;
} Connection;

static Connection *connections;
static int connection_count, expected_events;
static char request[65536];
static size_t request_length;
static struct sockaddr_in address;
static int loop;
static uint64_t answers, errors, events_seen, bad_streams;
static uint32_t buckets[BUCKETS];
static uint64_t samples;
static int *idle, idle_count;

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void note(uint64_t us) {
  uint64_t bucket = us / 10;
  buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
  samples++;
}

static double percentile(double part) {
  uint64_t rank = (uint64_t)((double)samples * part), seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += buckets[i];
    if (seen > rank) return i * 0.01;
  }
  return 0;
}

static void open_connection(int i) {
  Connection *c = &connections[i];
  int one = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) {
    perror("load: connect");
    exit(1);
  }
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->length = 0;
  c->is_busy = 0;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
  epoll_ctl(loop, EPOLL_CTL_ADD, c->fd, &event);
}

static void ask(int i, uint64_t at_us) {
  Connection *c = &connections[i];
  c->is_busy = 1;
  c->has_head = c->is_done = c->events = 0;
  c->length = 0;
  c->asked_us = at_us;
  if (send(c->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) errors++;
}

/* Takes `length` bytes of the body that begin at `at`: counts events and reads when they were sent. */
static void take_body(Connection *c, const char *at, size_t length, uint64_t now) {
  const char *end = at + length;
  if (expected_events == 0) return;
  for (const char *p = at; (p = memmem(p, (size_t)(end - p), "data: ", 6)) != NULL; p += 6) {
    if (end - p > 8 && p[6] == '[') {
      c->is_done = 1;
      continue;
    }
    c->events++;
    events_seen++;
    const char *mark = memmem(p, (size_t)(end - p), " t=", 3);
    if (mark != NULL) note(now - strtoull(mark + 3, NULL, 10));
  }
}

/* Reads what is there; 1 when the answer is complete. Chunks are taken whole: upstream's events never span two. */
static int parse(Connection *c, uint64_t now) {
  if (!c->has_head) {
    char *end = memmem(c->in, c->length, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    if (memcmp(c->in + 9, "200", 3) != 0) {
      if (errors++ == 0) fprintf(stderr, "load: %.*s\n", (int)(c->length < 600 ? c->length : 600), c->in);
    }
    *end = 0;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    c->is_chunked = length == NULL;
    c->left = length == NULL ? 0 : strtoul(length + 17, NULL, 10);
    c->has_head = 1;
    size_t head = (size_t)(end + 4 - c->in);
    memmove(c->in, c->in + head, c->length -= head);
  }
  if (!c->is_chunked) {
    if (c->length < c->left) return 0;
    c->length = 0;
    return 1;
  }
  size_t at = 0;
  int is_complete = 0;
  while (!is_complete) {
    char *line = memmem(c->in + at, c->length - at, "\r\n", 2);
    if (line == NULL) break;
    size_t size = strtoul(c->in + at, NULL, 16), start = (size_t)(line + 2 - c->in);
    if (c->length < start + size + 2) break;
    take_body(c, c->in + start, size, now);
    at = start + size + 2;
    is_complete = size == 0;
  }
  memmove(c->in, c->in + at, c->length -= at);
  return is_complete;
}

static void finish(int i, uint64_t now) {
  Connection *c = &connections[i];
  answers++;
  c->is_busy = 0;
  if (expected_events == 0) note(now - c->asked_us);
  else if (c->events != expected_events || !c->is_done) bad_streams++;
  idle[idle_count++] = i;
}

static void take(int i) {
  Connection *c = &connections[i];
  ssize_t got = recv(c->fd, c->in + c->length, BUFFER - c->length - 1, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    if (c->is_busy) errors++;
    close(c->fd);
    if (c->is_busy) idle[idle_count++] = i;
    open_connection(i);
    return;
  }
  c->length += (size_t)got;
  c->in[c->length] = 0;
  uint64_t now = now_us();
  if (c->is_busy && parse(c, now)) finish(i, now);
}

int main(int argc, char **argv) {
  if (argc != 7) return fprintf(stderr, "load PORT REQUEST_FILE CONNECTIONS SECONDS RATE EVENTS\n"), 2;
  address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  FILE *file = fopen(argv[2], "rb");
  if (file == NULL) return perror("load"), 1;
  request_length = fread(request, 1, sizeof request, file);
  connection_count = atoi(argv[3]);
  double seconds = atof(argv[4]), rate = atof(argv[5]);
  expected_events = atoi(argv[6]);
  connections = calloc((size_t)connection_count, sizeof *connections);
  idle = calloc((size_t)connection_count * 2, sizeof *idle);
  loop = epoll_create1(0);
  for (int i = 0; i < connection_count; i++) {
    connections[i].in = malloc(BUFFER);
    open_connection(i);
    idle[idle_count++] = i;
  }
  uint64_t start = now_us(), stop = start + (uint64_t)(seconds * 1e6), asked = 0, grace = stop + 30000000;
  struct epoll_event events[1024];
  for (;;) {
    uint64_t now = now_us();
    while (now < stop && idle_count > 0) {
      uint64_t due = rate > 0 ? start + (uint64_t)((double)asked / rate * 1e6) : now;
      if (due > now) break;
      asked++;
      ask(idle[--idle_count], due);
    }
    if (now >= stop && (idle_count == connection_count || now > grace)) break;
    uint64_t wait_us = 20000;
    if (rate > 0 && now < stop && idle_count > 0) {
      uint64_t due = start + (uint64_t)((double)asked / rate * 1e6);
      wait_us = due > now ? due - now : 0;
    }
    struct timespec wait = {.tv_nsec = (long)(wait_us < 20000 ? wait_us : 20000) * 1000};
    int count = epoll_pwait2(loop, events, 1024, &wait, NULL);
    for (int i = 0; i < count; i++) take((int)events[i].data.u32);
  }
  double took = (double)(now_us() - start) / 1e6;
  printf("{\"answers\":%llu,\"errors\":%llu,\"events\":%llu,\"badStreams\":%llu,\"seconds\":%.3f,\"p50Ms\":%.2f,\"p99Ms\":%.2f}\n",
         (unsigned long long)answers, (unsigned long long)errors, (unsigned long long)events_seen,
         (unsigned long long)bad_streams, took, percentile(0.5), percentile(0.99));
  return 0;
}
