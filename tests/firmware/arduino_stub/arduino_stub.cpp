/* A Linux process in the place of an Arduino board: USB serial is a TCP connection on 127.0.0.1, and the microphone hears
 * the file $STUB_PDM (16 kHz, s16le) at its real pace, called back from delay() and millis() as an interrupt would.
 * Prints READY socket://127.0.0.1:PORT. $STUB_SLOW: milliseconds that every loop() takes longer. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <vector>

#include "Arduino.h"
#include "PDM.h"

SerialStub Serial;
PDMClass PDM;

static int listener = -1, line = -1;
static bool masked, in_interrupt;
static void (*receive)(void);
static size_t block_bytes = 512;
static FILE *sound;
static unsigned long next_block_us;
static std::vector<unsigned char> block;
static size_t block_read;

static unsigned long now_us() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<unsigned long>(t.tv_sec) * 1000000ul + static_cast<unsigned long>(t.tv_nsec) / 1000ul;
}

/* PDM's interrupt: at most one block late, as its double buffer holds; what is later is lost without a trace. */
static void pdm_interrupt() {
  if (!sound || masked || in_interrupt) return;
  const unsigned long period = block_bytes / 2 * 1000000ul / 16000ul;
  while (sound && now_us() >= next_block_us) {
    next_block_us += period;
    block.assign(block_bytes, 0);
    const size_t got = fread(block.data(), 1, block_bytes, sound);
    (void)got; /* after the file: silence */
    block_read = 0;
    in_interrupt = true;
    if (receive) receive();
    in_interrupt = false;
  }
}

unsigned long micros() { return now_us(); }
unsigned long millis() {
  pdm_interrupt();
  return now_us() / 1000ul;
}
void delayMicroseconds(unsigned int us) { usleep(us); }
void delay(unsigned long ms) {
  const unsigned long until = now_us() + ms * 1000ul;
  do {
    pdm_interrupt();
    usleep(200);
  } while (now_us() < until);
}
void pinMode(int, int) {}
void digitalWrite(int, int) {}
void interrupts() {
  masked = false;
  pdm_interrupt();
}
void noInterrupts() { masked = true; }
extern "C" void NVIC_SystemReset(void) { _exit(42); }

int PDMClass::begin(int channels, int sample_rate) {
  const char *name = getenv("STUB_PDM");
  if (!name || channels != 1 || sample_rate != 16000) return 0;
  sound = fopen(name, "rb");
  next_block_us = now_us();
  return sound ? 1 : 0;
}
void PDMClass::end() {
  if (sound) fclose(sound);
  sound = nullptr;
}
int PDMClass::available() { return static_cast<int>(block.size() - block_read); }
int PDMClass::read(void *buffer, size_t size) {
  const size_t left = block.size() - block_read;
  const size_t n = size < left ? size : left;
  memcpy(buffer, block.data() + block_read, n);
  block_read += n;
  return static_cast<int>(n);
}
void PDMClass::onReceive(void (*callback)(void)) { receive = callback; }
void PDMClass::setBufferSize(int bytes) { block_bytes = static_cast<size_t>(bytes); }
void PDMClass::setGain(int) {}

void SerialStub::begin(unsigned long) {}
void SerialStub::flush() {}
SerialStub::operator bool() { return line >= 0; }

static void accept_one() {
  line = accept(listener, nullptr, nullptr);
  if (line < 0) return;
  const int on = 1;
  setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(line, F_SETFL, O_NONBLOCK);
}

static unsigned char input[256]; /* as large as the core's */
static size_t input_at, input_end;

int SerialStub::available() {
  pdm_interrupt();
  if (line < 0) accept_one();
  if (input_at == input_end && line >= 0) {
    const ssize_t n = recv(line, input, sizeof input, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      close(line);
      line = -1;
    }
    input_at = 0;
    input_end = n > 0 ? static_cast<size_t>(n) : 0;
  }
  return static_cast<int>(input_end - input_at);
}
int SerialStub::read() { return available() ? input[input_at++] : -1; }
size_t SerialStub::write(const uint8_t *data, size_t n) {
  if (line < 0) return 0;
  const ssize_t sent = send(line, data, n, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) {
    close(line);
    line = -1;
  }
  return sent > 0 ? static_cast<size_t>(sent) : 0;
}

int main() {
  prctl(PR_SET_PDEATHSIG, 15);
  sockaddr_in address = {};
  socklen_t length = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, reinterpret_cast<sockaddr *>(&address), length) || listen(listener, 1)) return 1;
  getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length);
  fcntl(listener, F_SETFL, O_NONBLOCK);
  printf("READY socket://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  const char *slow = getenv("STUB_SLOW");
  const unsigned long slow_ms = slow ? strtoul(slow, nullptr, 10) : 0;
  setup();
  for (;;) {
    loop();
    if (slow_ms) delay(slow_ms);
  }
}
