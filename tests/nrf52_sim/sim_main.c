/* The nRF52 drivers against a model of UARTE0 and PDM that acts at every register access, as the hardware would at the
 * worst moments. What it models is in the Product Specification, 6.34 (UARTE) and 6.15 (PDM). */
#include "m4.h"
#include "nrf52.h"

void UARTE0_Handler(void);
void PDM_Handler(void);

volatile uint32_t *cortexm_counter, *cortexm_capture;
volatile uint32_t cortexm_interrupt_ticks, cortexm_millis;
uint32_t cortexm_systick_ticks(void) { return 0; }

#define CHECK(what) \
  do { \
    if (!(what)) t_fail(#what); \
  } while (0)

/* ---- registers ---- */

enum { CELLS = 128 };
static struct {
  uint32_t address, value;
} cells[CELLS];
static uint32_t num_cells;

static volatile uint32_t *cell(uint32_t address) {
  for (uint32_t i = 0; i < num_cells; i++) {
    if (cells[i].address == address) return &cells[i].value;
  }
  CHECK(num_cells < CELLS);
  cells[num_cells].address = address;
  return &cells[num_cells++].value;
}

/* Without the model's reaction. */
#define RAW(register_) (*cell(ADDRESS_OF_##register_))
#define ADDRESS_OF_STARTRX (UARTE0_BASE + 0x000)
#define ADDRESS_OF_STARTTX (UARTE0_BASE + 0x008)
#define ADDRESS_OF_ENDRX (UARTE0_BASE + 0x110)
#define ADDRESS_OF_ENDTX (UARTE0_BASE + 0x120)
#define ADDRESS_OF_ERROR (UARTE0_BASE + 0x124)
#define ADDRESS_OF_ERRORSRC (UARTE0_BASE + 0x480)
#define ADDRESS_OF_RXD_PTR (UARTE0_BASE + 0x534)
#define ADDRESS_OF_RXD_MAXCNT (UARTE0_BASE + 0x538)
#define ADDRESS_OF_TXD_PTR (UARTE0_BASE + 0x544)
#define ADDRESS_OF_TXD_MAXCNT (UARTE0_BASE + 0x548)
#define ADDRESS_OF_PDM_START 0x4001D000u
#define ADDRESS_OF_PDM_STOP 0x4001D004u
#define ADDRESS_OF_PDM_STARTED 0x4001D100u
#define ADDRESS_OF_PDM_STOPPED 0x4001D104u
#define ADDRESS_OF_PDM_END 0x4001D108u
#define ADDRESS_OF_PDM_PTR 0x4001D560u
#define ADDRESS_OF_PDM_MAXCNT 0x4001D564u

/* ---- UARTE ---- */

static uint8_t line[1 << 15]; /* bytes on their way to the receiver */
static uint32_t line_in, line_out;
static uint32_t fifo_limit; /* bytes that wait when no transfer runs; more are lost and an overrun */
static uint32_t receiving;
static uint8_t sent[1 << 14];
static uint32_t num_sent;
static int sender_stuck;
static uint32_t sending, sending_for; /* accesses until ENDTX */

static void receive_what_waits(void) {
  if (receiving && line_in != line_out) {
    CHECK(RAW(RXD_MAXCNT) == 1);
    *(uint8_t *)RAW(RXD_PTR) = line[line_out++ % sizeof line];
    receiving = 0;
    RAW(ENDRX) = 1;
  }
  while (line_in - line_out > fifo_limit) {
    line_in--; /* the newest is lost */
    RAW(ERROR) = 1;
    RAW(ERRORSRC) |= 1;
  }
}

static void uarte_acts(void) {
  if (RAW(STARTRX)) {
    RAW(STARTRX) = 0;
    CHECK(!RAW(ENDRX)); /* else the driver would never know of this transfer's end */
    receiving = 1;
  }
  receive_what_waits();
  if (RAW(STARTTX)) {
    RAW(STARTTX) = 0;
    CHECK(!sending);
    sending = 1;
    sending_for = 5;
  }
  if (sending && !sender_stuck && --sending_for == 0) {
    /* Only now: a driver that touched the buffer meanwhile would be seen. */
    for (uint32_t i = 0; i < RAW(TXD_MAXCNT); i++) sent[num_sent++ % sizeof sent] = ((uint8_t *)RAW(TXD_PTR))[i];
    sending = 0;
    RAW(ENDTX) = 1;
  }
}

/* ---- PDM ---- */

static uint32_t pdm_running, pdm_buffer;
static int16_t pdm_next; /* a ramp */

static void pdm_latch(void) {
  pdm_buffer = RAW(PDM_PTR);
  RAW(PDM_STARTED) = 1;
}

static void pdm_acts(void) {
  if (RAW(PDM_START)) {
    RAW(PDM_START) = 0;
    pdm_running = 1;
    pdm_latch();
  }
  if (RAW(PDM_STOP)) {
    RAW(PDM_STOP) = 0;
    pdm_running = 0;
    RAW(PDM_STOPPED) = 1;
  }
}

static void pdm_block(void) {
  CHECK(pdm_running);
  for (uint32_t i = 0; i < RAW(PDM_MAXCNT); i++) ((int16_t *)pdm_buffer)[i] = pdm_next++;
  RAW(PDM_END) = 1;
  pdm_latch();
}

volatile uint32_t *sim_reg(uint32_t address) {
  uarte_acts();
  pdm_acts();
  return cell(address);
}

/* ---- tests ---- */

static uint32_t seed = 12345;
static uint32_t chance(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

static void interrupts(void) {
  sim_reg(0); /* the hardware goes on */
  if (RAW(ENDRX) || RAW(ERROR)) UARTE0_Handler();
}

static void test_receive(void) {
  port_serial_stats_t stats;
  uint8_t next_in = 0, next_out = 0, out[300];
  uint32_t total = 0;
  fifo_limit = sizeof line; /* no byte is lost while interrupts wait, as under Renode */
  for (uint32_t round = 0; round < 4000; round++) {
    for (uint32_t n = chance(round % 100 == 0 ? 9000 : 40); n && line_in - line_out < sizeof line - 1; n--) {
      line[line_in++ % sizeof line] = next_in++;
      total++;
    }
    if (chance(3)) interrupts();
    if (chance(2)) {
      const size_t n = port_serial_read(out, chance(sizeof out));
      for (size_t i = 0; i < n; i++) CHECK(out[i] == next_out++);
    }
  }
  for (uint32_t i = 0; i < 1000; i++) {
    interrupts();
    const size_t n = port_serial_read(out, sizeof out);
    for (size_t k = 0; k < n; k++) CHECK(out[k] == next_out++);
  }
  CHECK(next_in == next_out);
  port_serial_stats(&stats);
  CHECK(stats.rx_bytes == total);
  CHECK(stats.rx_overrun == 0 && stats.rx_framing == 0);
}

static void test_a_full_ring_holds_the_line_back(void) {
  port_serial_stats_t stats;
  uint8_t out[256];
  const uint32_t more = (uint32_t)port_serial_capacity() + 500;
  fifo_limit = sizeof line;
  for (uint32_t i = 0; i < more; i++) line[line_in++ % sizeof line] = (uint8_t)(i * 7);
  for (uint32_t i = 0; i < 3; i++) interrupts();
  CHECK(line_in - line_out == 500); /* the rest waits outside */
  uint32_t taken = 0;
  while (taken < more) {
    const size_t n = port_serial_read(out, sizeof out);
    CHECK(n > 0);
    for (size_t i = 0; i < n; i++) CHECK(out[i] == (uint8_t)((taken + i) * 7));
    taken += n;
    interrupts();
  }
  port_serial_stats(&stats);
  CHECK(stats.rx_overrun == 0);
}

static void test_an_overrun_is_counted(void) {
  port_serial_stats_t before, after;
  uint8_t out[256];
  port_serial_stats(&before);
  fifo_limit = 6; /* the hardware's */
  for (uint32_t i = 0; i < 20; i++) {
    line[line_in++ % sizeof line] = (uint8_t)i;
    sim_reg(0); /* no interrupt gets through */
  }
  interrupts();
  port_serial_stats(&after);
  CHECK(after.rx_overrun == before.rx_overrun + 1);
  const size_t n = port_serial_read(out, sizeof out);
  CHECK(n == 7); /* one in the ring, six in the FIFO */
  for (size_t i = 0; i < n; i++) CHECK(out[i] == i);
  RAW(ERROR) = 1;
  RAW(ERRORSRC) = 4; /* framing */
  interrupts();
  port_serial_stats(&after);
  CHECK(after.rx_framing == before.rx_framing + 1);
}

static void test_send(void) {
  uint8_t data[700];
  num_sent = 0;
  uint32_t total = 0;
  uint8_t next = 0;
  for (uint32_t round = 0; round < 300; round++) {
    const uint32_t n = chance(sizeof data + 1);
    for (uint32_t i = 0; i < n; i++) data[i] = (uint8_t)(next + i);
    const uint32_t before = num_sent;
    CHECK(port_serial_write(data, n) == n);
    for (uint32_t i = 0; i < n; i++) data[i] = 0; /* it must have its own copy */
    next = (uint8_t)(next + n);
    total += n;
    (void)before;
    if (num_sent > sizeof sent / 2) {
      for (int i = 0; i < 10; i++) sim_reg(0);
      CHECK(num_sent == total);
      for (uint32_t i = 0; i < total; i++) CHECK(sent[i] == (uint8_t)(next - total + i));
      num_sent = total = 0;
    }
  }
  for (int i = 0; i < 10; i++) sim_reg(0);
  CHECK(num_sent == total);
  /* A line that does not move: bounded, and told. */
  sender_stuck = 1;
  CHECK(port_serial_write(data, 600) == 256);
  sender_stuck = 0;
  for (int i = 0; i < 10; i++) sim_reg(0);
  CHECK(port_serial_write(data, 10) == 10);
}

static void pdm_interrupt(void) {
  sim_reg(0);
  if (RAW(PDM_STARTED) || RAW(PDM_END)) PDM_Handler();
}

static void test_microphone(void) {
  int16_t out[500];
  uint32_t dropped = 0;
  CHECK(port_audio_start(8000) == -1);
  for (int again = 0; again < 3; again++) {
    pdm_next = 0;
    CHECK(port_audio_start(16000) == 0);
    pdm_interrupt();
    int16_t expected = 8 * 160; /* the settling */
    uint32_t taken = 0;
    for (uint32_t round = 0; round < 300; round++) {
      pdm_block();
      pdm_interrupt();
      const size_t n = port_audio_read(out, chance(500), &dropped);
      CHECK(dropped == 0);
      for (size_t i = 0; i < n; i++) CHECK(out[i] == expected++);
      taken += n;
    }
    CHECK(taken > 160 * 200);
    port_audio_stop();
    pdm_interrupt(); /* what was pending comes to nothing */
  }
  /* A reader that sleeps: whole blocks are lost, and counted; what comes is in order. */
  pdm_next = 0;
  CHECK(port_audio_start(16000) == 0);
  pdm_interrupt();
  for (uint32_t i = 0; i < 8 + 40; i++) {
    pdm_block();
    pdm_interrupt();
  }
  size_t n = 0, part;
  uint32_t lost = 0;
  int16_t expected = 8 * 160;
  do {
    part = port_audio_read(out, 500, &dropped);
    lost += dropped;
    for (size_t i = 0; i < part; i++) CHECK(out[i] == expected++);
    n += part;
  } while (part);
  CHECK(n == 25 * 160 && lost == 15 * 160);
  port_audio_stop();
  port_audio_stop();
}

int main(void) {
  nrf52_serial_init();
  test_receive();
  test_a_full_ring_holds_the_line_back();
  test_an_overrun_is_counted();
  test_send();
  test_microphone();
  return 0;
}
