/* port.h as a Linux process: the serial line is a TCP connection on 127.0.0.1 or a pseudo-terminal.
 *   firmware.elf --port tcp:PORT|pty     (tcp:0: any free port)
 * Prints one line when it can be opened: READY socket://127.0.0.1:PORT or READY /dev/pts/N.
 * KWS_HOST_MICROPHONE=FILE is its microphone: raw int16 at 16 kHz, as fast as it is taken, then silence without end at the
 * pace of time. KWS_HOST_LED=1 tells of the LED on stderr. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "port.h"

#define CAPACITY 16384 /* far less than what the kernel's buffers hold */
#define WRITE_TIMEOUT_MS 2000

static int listener = -1, line = -1;
static int is_tcp;
static port_serial_stats_t stats;
static char **arguments;
static port_reset_reason_t reset_reason = PORT_RESET_POWER;

static _Noreturn void die(const char *what) {
  fprintf(stderr, "error: %s: %s\n", what, strerror(errno));
  exit(4);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void open_tcp(long port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t len = sizeof address;
  const int on = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) die("socket");
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 1) != 0)
    die("can't listen on that port");
  if (getsockname(listener, (struct sockaddr *)&address, &len) != 0) die("getsockname");
  is_tcp = 1;
  printf("READY socket://127.0.0.1:%d\n", ntohs(address.sin_port));
}

static void open_pty(void) {
  line = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (line < 0 || grantpt(line) != 0 || unlockpt(line) != 0) die("no pseudo-terminal");
  const char *name = ptsname(line);
  /* Held open by us too, so that the line does not hang up between two hosts; raw from the first byte. */
  const int other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  struct termios t;
  if (other < 0 || tcgetattr(other, &t) != 0) die(name);
  cfmakeraw(&t);
  if (tcsetattr(other, TCSANOW, &t) != 0) die(name);
  printf("READY %s\n", name);
}

/* A reset of the device keeps the connection: the descriptors are handed to the new process image. */
static void open_inherited(const char *spec) {
  if (sscanf(spec, "%d,%d,%d", &listener, &line, &is_tcp) != 3) die("KWS_HOST_INHERIT");
  if (listener >= 0) fcntl(listener, F_SETFD, FD_CLOEXEC);
  if (line >= 0) fcntl(line, F_SETFD, FD_CLOEXEC);
  reset_reason = PORT_RESET_SOFTWARE;
}

static void hang_up(void) {
  if (line >= 0) close(line);
  line = -1;
}

/* Waits for the next host; the firmware has nothing to do without one. */
static void accept_host(void) {
  const int on = 1;
  while (line < 0) {
    line = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (line < 0 && errno != EINTR && errno != ECONNABORTED) die("accept");
  }
  setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void read_arguments(void) {
  static char text[4096];
  FILE *f = fopen("/proc/self/cmdline", "r"); /* port_init() has no argv */
  if (!f) die("/proc/self/cmdline");
  const size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  static char *list[16];
  size_t count = 0;
  for (size_t i = 0; i < n && count < 15; i += strlen(text + i) + 1) list[count++] = text + i;
  list[count] = NULL;
  arguments = list;
}

void port_init(void) {
  read_arguments();
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlives the tool that started it */
  const char *inherited = getenv("KWS_HOST_INHERIT");
  if (inherited) {
    open_inherited(inherited);
    return;
  }
  const char *spec = NULL;
  for (size_t i = 1; arguments[i]; i++) {
    if (!strcmp(arguments[i], "--port")) spec = arguments[i + 1];
  }
  char *end = NULL;
  long port = -1;
  if (spec && !strncmp(spec, "tcp:", 4)) port = strtol(spec + 4, &end, 10);
  if (spec && !strcmp(spec, "pty")) {
    open_pty();
  } else if (port >= 0 && port <= 65535 && end != spec + 4 && *end == 0) {
    open_tcp(port);
  } else {
    fprintf(stderr, "usage: %s --port tcp:PORT|pty\n", arguments[0]);
    exit(2);
  }
  fflush(stdout);
  if (is_tcp) accept_host();
}

size_t port_serial_read(uint8_t *out, size_t max) {
  if (line < 0) accept_host();
  const ssize_t n = read(line, out, max);
  if (n > 0) {
    stats.rx_bytes += (uint32_t)n;
    return (size_t)n;
  }
  if (is_tcp && (n == 0 || (errno != EAGAIN && errno != EINTR))) hang_up();
  return 0;
}

size_t port_serial_write(const uint8_t *data, size_t n) {
  size_t sent = 0;
  while (line >= 0 && sent < n) {
    const ssize_t r = write(line, data + sent, n - sent);
    if (r > 0) {
      sent += (size_t)r;
    } else if (r < 0 && errno == EAGAIN) {
      struct pollfd p = {.fd = line, .events = POLLOUT};
      if (poll(&p, 1, WRITE_TIMEOUT_MS) <= 0) break;
    } else if (r < 0 && errno == EINTR) {
      continue;
    } else {
      if (is_tcp) hang_up();
      break;
    }
  }
  stats.tx_bytes += (uint32_t)sent;
  return sent;
}

size_t port_serial_capacity(void) { return CAPACITY; }
void port_serial_stats(port_serial_stats_t *out) { *out = stats; }

uint32_t port_ticks(void) { return (uint32_t)now_ns(); }
uint32_t port_own_ticks(void) { return port_ticks(); }
uint32_t port_millis(void) { return (uint32_t)(now_ns() / 1000000u); }

const port_clock_t *port_clock(void) {
  static const port_clock_t clock = {.source = "CLOCK_MONOTONIC", .hz = 1000000000u};
  return &clock;
}

void port_watchdog_feed(void) {} /* whoever started the process can end it */

/* One client at a time: a further one is hung up on, so that it need not wait for an answer that never comes. Not while
 * the line has something to read: that may be its end, and then the further one is the next. */
static void turn_away(void) {
  struct pollfd waiting = {.fd = listener, .events = POLLIN}, present = {.fd = line, .events = POLLIN};
  if (!is_tcp || poll(&waiting, 1, 0) <= 0 || poll(&present, 1, 0) != 0) return;
  const int other = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (other >= 0) close(other);
}

void port_idle(void) {
  if (line < 0) return;
  struct pollfd p = {.fd = line, .events = POLLIN};
  if (poll(&p, 1, 1) == 0) turn_away();
}

void port_memory(port_memory_t *out) { memset(out, 0, sizeof *out); }
const port_fault_t *port_fault(void) { return NULL; }
int port_die(port_die_t kind) {
  (void)kind;
  return -1;
}
port_reset_reason_t port_reset_reason(void) { return reset_reason; }

void port_reset(void) {
  char spec[48];
  if (listener >= 0) fcntl(listener, F_SETFD, 0);
  if (line >= 0) fcntl(line, F_SETFD, 0);
  snprintf(spec, sizeof spec, "%d,%d,%d", listener, line, is_tcp);
  setenv("KWS_HOST_INHERIT", spec, 1);
  execv("/proc/self/exe", arguments);
  die("can't start again");
}

static int microphone = -1;
static uint64_t silent_since; /* 0 while the file lasts */

int port_audio_start(uint32_t sample_rate_hz) {
  const char *path = getenv("KWS_HOST_MICROPHONE");
  port_audio_stop();
  if (path && sample_rate_hz == 16000) microphone = open(path, O_RDONLY | O_CLOEXEC);
  silent_since = 0;
  return microphone < 0 ? -1 : 0;
}

size_t port_audio_read(int16_t *out, size_t max, uint32_t *dropped) {
  *dropped = 0;
  if (microphone < 0) return 0;
  if (silent_since == 0) {
    const ssize_t n = read(microphone, out, max * sizeof *out); /* of a regular file: all that is there */
    if (n >= (ssize_t)sizeof *out) return (size_t)n / sizeof *out;
    silent_since = now_ns();
  }
  size_t due = (size_t)((now_ns() - silent_since) / 62500u);
  if (due > max) due = max;
  memset(out, 0, due * sizeof *out);
  silent_since += due * 62500u;
  return due;
}

void port_audio_stop(void) {
  if (microphone >= 0) close(microphone);
  microphone = -1;
}

void port_led(int on) {
  if (getenv("KWS_HOST_LED")) fprintf(stderr, "led %d\n", on);
}
