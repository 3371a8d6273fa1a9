/* A Linux process in the place of an Arduino Nano 33 BLE, which does what ArduinoCore-mbed b4ad4e7 does there, well or badly.
 * USB serial is a TCP connection on 127.0.0.1; the microphone hears the file $STUB_PDM (16 kHz, s16le) at its real pace,
 * called back from delay() and millis() as an interrupt would, and is not there without it.
 * Prints READY socket://127.0.0.1:PORT. $STUB_SLOW: milliseconds that every loop() takes longer. $STUB_HANG: while this
 * file exists, the host has the port open and takes nothing. $STUB_LOG: a file for what can't be seen from outside. */
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
#include "USB/PluggableUSBSerial.h"

arduino::UART _UART_USB_;
arduino::USBSerial _SerialUSB;
PDMClass PDM(PIN_PDM_DIN, PIN_PDM_CLK, PIN_PDM_PWR);
uint32_t SystemCoreClock = 64000000;

static int listener = -1, line = -1;
static bool masked, in_interrupt;
static void (*receive)(void);
static FILE *sound;
static bool pdm_runs;
static unsigned long pdm_since_us, next_block_us;
static std::vector<unsigned char> block;
static size_t block_read;
static PinMode data_pull = INPUT;

static unsigned long now_us() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<unsigned long>(t.tv_sec) * 1000000ul + static_cast<unsigned long>(t.tv_nsec) / 1000ul;
}

static void log_line(const char *text, int value) {
  const char *name = getenv("STUB_LOG");
  FILE *file = name ? fopen(name, "a") : nullptr;
  if (!file) return;
  fprintf(file, "%s %d\n", text, value);
  fclose(file);
}

/* PDM's interrupt: at most one block late, as its double buffer holds; what is later is lost without a trace. */
static void pdm_interrupt() {
  if (!pdm_runs || masked || in_interrupt) return;
  const unsigned long period = PDM.getBufferSize() / 2 * 1000000ul / 16000ul;
  while (pdm_runs && now_us() >= next_block_us) {
    next_block_us += period;
    if (block_read < block.size()) { /* the core stops for good if the callback leaves something */
      pdm_runs = false;
      return;
    }
    block.assign(PDM.getBufferSize(), 0);
    if (sound) {
      const size_t got = fread(block.data(), 1, block.size(), sound);
      (void)got; /* after the file: silence */
    }
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
void yield() { usleep(100); }
void __enable_irq() {
  masked = false;
  pdm_interrupt();
}
void __disable_irq() { masked = true; }
void NVIC_SystemReset() { _exit(42); }

void pinMode(pin_size_t pin, PinMode mode) {
  if (pin == PIN_PDM_DIN) data_pull = mode;
}
void digitalWrite(pin_size_t, PinStatus) {}
/* The data line: a microphone that has had 10 ms of clock drives it half of the time, else it lies where it is pulled. */
PinStatus digitalRead(pin_size_t pin) {
  static unsigned seed = 1;
  if (pin != PIN_PDM_DIN) return LOW;
  seed = seed * 1664525u + 1013904223u;
  const bool drives = sound && pdm_runs && now_us() - pdm_since_us > 10000 && (seed >> 20 & 1);
  if (drives) return seed >> 21 & 1 ? HIGH : LOW;
  return data_pull == INPUT_PULLUP ? HIGH : LOW;
}

PDMClass::PDMClass(int, int, int) : _gain(-1), _size(512) {}
PDMClass::~PDMClass() {}
int PDMClass::begin(int channels, int sampleRate) {
  if (sampleRate != 16000 && sampleRate != 41667) return 0;
  if (channels != 1 && channels != 2) return 0;
  if (_gain == -1) _gain = 20; /* -10 dB */
  log_line("gain", _gain);
  const char *name = getenv("STUB_PDM");
  sound = name ? fopen(name, "rb") : nullptr;
  block.clear();
  block_read = 0;
  pdm_since_us = next_block_us = now_us();
  pdm_runs = true;
  return 1; /* also where no microphone is */
}
void PDMClass::end() {
  if (sound) fclose(sound);
  sound = nullptr;
  pdm_runs = false;
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
void PDMClass::setGain(int gain) { _gain = gain; }
void PDMClass::setBufferSize(int bufferSize) { _size = static_cast<size_t>(bufferSize); }
size_t PDMClass::getBufferSize() { return _size; }

/* ---- USB ---- */

static unsigned char packet[CDC_MAX_PACKET_SIZE]; /* in the endpoint until the host takes it */
static size_t packet_at, packet_end;

static void hang_up() {
  close(line);
  line = -1;
  packet_at = packet_end = 0;
}

static void accept_one() {
  line = accept(listener, nullptr, nullptr);
  if (line < 0) return;
  const int on = 1;
  setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(line, F_SETFL, O_NONBLOCK);
}

static void host_takes() {
  const char *hang = getenv("STUB_HANG");
  if (line < 0 || packet_at == packet_end || (hang && access(hang, F_OK) == 0)) return;
  const ssize_t sent = send(line, packet + packet_at, packet_end - packet_at, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) hang_up();
  if (sent > 0) packet_at += static_cast<size_t>(sent);
}

bool USBSerial::connected() { return line >= 0; }
void USBCDC::send_nb(uint8_t *buffer, uint32_t size, uint32_t *actual, bool) {
  *actual = 0;
  host_takes();
  if (line < 0 || packet_at != packet_end) return;
  *actual = size < sizeof packet ? size : sizeof packet;
  memcpy(packet, buffer, *actual);
  packet_at = 0;
  packet_end = *actual;
  host_takes();
}
bool USBCDC::send(uint8_t *buffer, uint32_t size) {
  while (size && line >= 0) {
    uint32_t taken = 0;
    send_nb(buffer, size, &taken);
    buffer += taken;
    size -= taken;
    if (!taken) delay(1);
  }
  return size == 0;
}

void UART::begin(unsigned long) {}
void UART::end() {}
void UART::flush() {} /* waits for nothing */
UART::operator bool() {
  delay(1);
  return _SerialUSB.connected();
}

static unsigned char input[256]; /* as large as the core's */
static size_t input_at, input_end;

int UART::available() {
  pdm_interrupt();
  host_takes();
  if (line < 0) accept_one();
  if (input_at == input_end && line >= 0) {
    const ssize_t n = recv(line, input, sizeof input, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) hang_up();
    input_at = 0;
    input_end = n > 0 ? static_cast<size_t>(n) : 0;
  }
  return static_cast<int>(input_end - input_at);
}
int UART::read() { return available() ? input[input_at++] : -1; }
int UART::peek() { return available() ? input[input_at] : -1; }
size_t UART::write(uint8_t c) { return write(&c, 1); }
/* Waits as long as the host has the port open and does not read; says that all was sent, whatever was. */
size_t UART::write(const uint8_t *data, size_t size) {
  if (!_SerialUSB.connected()) return 0;
  for (size_t at = 0; at < size; at += CDC_MAX_PACKET_SIZE) {
    const size_t part = size - at < CDC_MAX_PACKET_SIZE ? size - at : CDC_MAX_PACKET_SIZE;
    _SerialUSB.send(const_cast<uint8_t *>(data) + at, static_cast<uint32_t>(part));
  }
  return size;
}

/* Print's, on top of write(). */
size_t UART::print(const char text[]) { return write(reinterpret_cast<const uint8_t *>(text), strlen(text)); }
size_t UART::print(char c) { return write(static_cast<uint8_t>(c)); }
size_t UART::println(const char text[]) { return print(text) + print("\r\n"); }
size_t UART::println(unsigned char value, int base) {
  char text[9];
  snprintf(text, sizeof text, base == 16 ? "%X" : "%u", static_cast<unsigned>(value));
  return println(text);
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
    pdm_interrupt();
    if (line < 0) accept_one(); /* USB's interrupt */
    if (slow_ms) delay(slow_ms);
  }
}
