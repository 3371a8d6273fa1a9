/* port.h on the API of Arduino's mbed core (Serial, _SerialUSB, PDM, millis, digitalRead), for the Nano 33 BLE over USB.
 * Arduino's own start-up calls setup() and loop() at the end of this file. C++14, as that core is built. */
#include <Arduino.h>
#include <PDM.h>
#include <USB/PluggableUSBSerial.h>

#include "kws_app.h"
#include "port.h"

namespace {

/* One frame of the longest kind in flight (see kws_link.h): USB's buffer in the core holds half of it, and the rest waits
 * in the host, since a full endpoint takes no more. */
const size_t kCapacity = 640;
const uint32_t kSendPatienceMs = 200; /* less than the microphone's ring */

/* Microphone: blocks of 10 ms into a ring of a quarter of a second. */
const size_t kBlockSamples = 160;
const uint32_t kRing = 4096;
/* The microphone and PDM's high-pass filter need 100 ms to settle: never heard, not lost. */
const uint32_t kSettlingSamples = 1600;
/* As on the bare-metal port (ports/nrf52/audio.c): half decibels, 0x28 is 0 dB. The core's own choice is -10 dB. */
const int kGain = 0x28 + 2 * KWS_MICROPHONE_GAIN_DB;
static_assert(kGain >= 0 && kGain <= 0x50, "kws.microphone.gain_db: PDM has -20 to 20 dB");
/* A microphone that has its clock drives the data line within 20 ms; a line that nobody drives lies where it is pulled. */
const uint32_t kWakeMs = 25, kPullMs = 5;
const uint32_t kProof = 16; /* readings against the pull: more than a neighbour's edges make */

port_serial_stats_t serial_stats;
bool host_hangs; /* it has the port open and takes nothing: it is not waited for again until it does */

int16_t ring[kRing];
volatile uint32_t ring_in, ring_out, lost;
volatile uint32_t settling;
bool listening;

port_clock_t clock_info;
#if defined(__ARM_ARCH_7EM__)
/* Registers of the architecture (DDI 0403 C1.6.5, C1.8.7): Arduino has no cycle counter of its own. */
volatile uint32_t *const kDemcr = reinterpret_cast<volatile uint32_t *>(0xE000EDFC);
volatile uint32_t *const kDwtCtrl = reinterpret_cast<volatile uint32_t *>(0xE0001000);
volatile uint32_t *const kDwtCyccnt = reinterpret_cast<volatile uint32_t *>(0xE0001004);
bool have_cycles;
#endif

void start_timing() {
  clock_info.source = "micros()";
  clock_info.hz = 1000000;
#if defined(__ARM_ARCH_7EM__)
  *kDemcr |= 1u << 24; /* TRCENA: the core's start-up takes it away */
  *kDwtCyccnt = 0;
  *kDwtCtrl |= 1u;
  const uint32_t from = *kDwtCyccnt;
  delayMicroseconds(10);
  if (*kDwtCyccnt != from) {
    have_cycles = true;
    clock_info.source = "DWT";
    clock_info.hz = clock_info.core_hz = SystemCoreClock;
  }
#endif
}

/* Called from PDM's interrupt: all that it has, at once, or its double buffer overwrites it. */
void on_audio() {
  int16_t block[kBlockSamples];
  int bytes = PDM.available();
  while (bytes > 0) {
    const size_t want = static_cast<size_t>(bytes) < sizeof block ? static_cast<size_t>(bytes) : sizeof block;
    const int got = PDM.read(block, want);
    if (got <= 0) return;
    bytes -= got;
    const uint32_t n = static_cast<uint32_t>(got) / 2;
    if (settling) {
      settling -= n < settling ? n : settling;
      continue;
    }
    const uint32_t in = ring_in;
    if (kRing - (in - ring_out) < n) {
      lost += n;
      continue;
    }
    for (uint32_t i = 0; i < n; i++) ring[(in + i) % kRing] = block[i];
    ring_in = in + n;
  }
}

/* Whether the data line is seen at `level` although it is pulled to the other one, while PDM gives its clock. */
bool driven(PinMode pull, PinStatus level, uint32_t ms) {
  pinMode(PIN_PDM_DIN, pull);
  const uint32_t from = millis();
  uint32_t seen = 0, turn = 0;
  do {
    /* Of unequal length, or readings could all fall in the half of the clock in which a microphone lets go. */
    for (volatile uint32_t wait = turn++ % 13u; wait; wait = wait - 1) {}
    if (digitalRead(PIN_PDM_DIN) == level && ++seen >= kProof) return true;
  } while (millis() - from < ms);
  return false;
}

/* PDM.begin() says that all is well on a board that has none, too. */
bool has_microphone() {
  const bool found = driven(INPUT_PULLDOWN, HIGH, kWakeMs) || driven(INPUT_PULLUP, LOW, kPullMs);
  pinMode(PIN_PDM_DIN, INPUT);
  return found;
}

} // namespace

extern "C" {

void port_init(void) {
  Serial.begin(115200); /* the rate means nothing on USB, but for 1200: that is the boot loader's sign */
  pinMode(LED_BUILTIN, OUTPUT);
  start_timing();
}

size_t port_serial_read(uint8_t *out, size_t max) {
  size_t n = 0;
  while (n < max && Serial.available() > 0) {
    const int byte = Serial.read();
    if (byte < 0) break;
    out[n++] = static_cast<uint8_t>(byte);
  }
  serial_stats.rx_bytes += n;
  return n;
}

size_t port_serial_write(const uint8_t *data, size_t n) {
  size_t sent = 0;
  uint32_t from = millis();
  /* Serial.write() would wait for ever for a host that has the port open and does not read, and says that all was sent
   * where nothing was; Serial as a condition sleeps a millisecond. What is not taken here, the link counts as dropped. */
  while (sent < n && _SerialUSB.connected()) {
    uint32_t taken = 0;
    _SerialUSB.send_nb(const_cast<uint8_t *>(data) + sent, n - sent, &taken);
    sent += taken;
    if (taken) {
      host_hangs = false;
      from = millis();
    } else if (host_hangs || millis() - from > kSendPatienceMs) {
      host_hangs = true;
      break;
    } else {
      yield();
    }
  }
  serial_stats.tx_bytes += sent;
  return sent;
}

void port_serial_stats(port_serial_stats_t *out) { *out = serial_stats; }
size_t port_serial_capacity(void) { return kCapacity; }

uint32_t port_ticks(void) {
#if defined(__ARM_ARCH_7EM__)
  if (have_cycles) return *kDwtCyccnt;
#endif
  return micros();
}
/* The core's own interrupts are not ours to measure, so they are in what we measure. */
uint32_t port_own_ticks(void) { return port_ticks(); }
const port_clock_t *port_clock(void) { return &clock_info; }
uint32_t port_millis(void) { return millis(); }
void port_watchdog_feed(void) {} /* the core has none running */

void port_idle(void) {
  if (Serial.available() == 0 && ring_in == ring_out) delay(1); /* lets the core's threads, and so USB, run */
}

int port_audio_start(uint32_t sample_rate_hz) {
  if (sample_rate_hz != 16000u) return -1;
  port_audio_stop();
  ring_in = ring_out = lost = 0;
  settling = kSettlingSamples;
  PDM.onReceive(on_audio);
  PDM.setBufferSize(static_cast<int>(kBlockSamples * sizeof(int16_t)));
  PDM.setGain(kGain);
  listening = PDM.begin(1, 16000) != 0; /* one channel */
  if (listening && !has_microphone()) port_audio_stop();
  return listening ? 0 : -1;
}

size_t port_audio_read(int16_t *out, size_t max, uint32_t *dropped) {
  const uint32_t from = ring_out;
  size_t n = ring_in - from;
  if (n > max) n = max;
  for (size_t i = 0; i < n; i++) out[i] = ring[(from + i) % kRing];
  ring_out = from + n;
  noInterrupts();
  *dropped = lost;
  lost = 0;
  interrupts();
  return n;
}

void port_audio_stop(void) {
  if (listening) PDM.end();
  listening = false;
}

void port_led(int on) { digitalWrite(LED_BUILTIN, on ? HIGH : LOW); }
port_reset_reason_t port_reset_reason(void) { return PORT_RESET_UNKNOWN; } /* the core has used it up */
const port_fault_t *port_fault(void) { return nullptr; }                   /* the core reports its faults itself */
int port_die(port_die_t kind) {
  (void)kind;
  return -1;
}

void port_memory(port_memory_t *out) { *out = port_memory_t(); }

void port_reset(void) {
  delay(50); /* the last frame's way over USB: Serial.flush() waits for nothing */
  NVIC_SystemReset();
  for (;;) {}
}

} // extern "C"

void setup() {
  port_init();
  kws_app_init();
}

void loop() {
  port_watchdog_feed();
  if (!kws_app_poll()) port_idle();
}
