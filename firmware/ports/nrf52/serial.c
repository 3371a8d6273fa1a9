/* UARTE0 with EasyDMA. Sending is double buffered: one buffer goes out while the next is filled. Receiving moves one byte
 * a transfer, straight into the ring: a longer transfer would hold back the end of every frame, since UARTE does not tell
 * how much of an unfinished one has come, and its FIFO of six bytes covers the time until the next is started. A byte
 * that FIFO could not take is a hardware overrun, and counted. */
#include "nrf52.h"

#ifndef KWS_RX_RING_BYTES
#define KWS_RX_RING_BYTES 8192u /* 15 frames of the longest kind in flight */
#endif
_Static_assert((KWS_RX_RING_BYTES & (KWS_RX_RING_BYTES - 1u)) == 0, "the ring's size is a power of two");

/* The divider's steps are of 16 baud (6.34.9.20 gives rounded values for the usual rates). */
#if KWS_SERIAL_BAUD == 1000000
#define BAUDRATE 0x10000000u
#elif KWS_SERIAL_BAUD == 921600
#define BAUDRATE 0x0F000000u
#elif KWS_SERIAL_BAUD == 460800
#define BAUDRATE 0x07400000u
#elif KWS_SERIAL_BAUD == 230400
#define BAUDRATE 0x03B00000u
#elif KWS_SERIAL_BAUD == 115200
#define BAUDRATE 0x01D60000u
#else
#error "kws.serial.baud: UARTE knows 115200, 230400, 460800, 921600 and 1000000"
#endif

#define TX_BYTES 256u
/* Loops that surely take longer than a whole buffer on the line: a loop is more than four cycles. */
#define SEND_WAIT (NRF52_CORE_HZ / KWS_SERIAL_BAUD * 10u * TX_BYTES)

static uint8_t ring[KWS_RX_RING_BYTES];
static volatile uint32_t ring_in, ring_out; /* bytes ever put in and taken out */
static volatile int rx_stopped;             /* the ring was full; whoever reads starts again */
static port_serial_stats_t stats;

static uint8_t tx[2][TX_BYTES];
static uint32_t tx_next; /* the buffer that is free, or will be when the other is out */
static int tx_busy;

/* Only with interrupts off, or from the interrupt. The two writes stay together: a byte that comes between them would
 * be written behind the end of the finished transfer by an emulator that delivers it at once. */
static void receive_next(void) {
  UARTE_RXD_PTR = (uint32_t)&ring[ring_in % KWS_RX_RING_BYTES];
  UARTE_EV_ENDRX = 0;
  UARTE_STARTRX = 1;
}

void nrf52_serial_init(void) {
  GPIO_OUTSET(KWS_UART_TX_PIN) = GPIO_MASK(KWS_UART_TX_PIN);
  GPIO_CNF(KWS_UART_TX_PIN) = GPIO_CNF_OUTPUT;
  GPIO_CNF(KWS_UART_RX_PIN) = GPIO_CNF_INPUT_PULLUP;
  UARTE_PSEL_TXD = KWS_UART_TX_PIN;
  UARTE_PSEL_RXD = KWS_UART_RX_PIN;
  UARTE_PSEL_RTS = PSEL_NONE;
  UARTE_PSEL_CTS = PSEL_NONE;
  UARTE_BAUDRATE = BAUDRATE;
  UARTE_CONFIG = 0; /* no parity, one stop bit, no flow control: the link has its own */
  UARTE_ENABLE = 8;
  UARTE_RXD_MAXCNT = 1;
  UARTE_EV_ERROR = 0;
  UARTE_INTENSET = UARTE_INT_ENDRX | UARTE_INT_ERROR;
  NVIC_ISER(UARTE0_IRQ / 32) = 1u << (UARTE0_IRQ % 32);
  receive_next();
}

void UARTE0_Handler(void) {
  const uint32_t entered = cortexm_ticks();
  if (UARTE_EV_ERROR) {
    UARTE_EV_ERROR = 0;
    const uint32_t source = UARTE_ERRORSRC;
    UARTE_ERRORSRC = source;
    if (source & 1u) stats.rx_overrun++;
    if (source & ~1u) stats.rx_framing++;
  }
  /* All that is there; bounded by the ring, so that a babbling line can't hold us here for ever. */
  for (uint32_t i = 0; i < KWS_RX_RING_BYTES && UARTE_EV_ENDRX; i++) {
    const uint32_t in = ring_in + 1;
    ring_in = in;
    stats.rx_bytes++;
    if (in - ring_out == KWS_RX_RING_BYTES) {
      UARTE_EV_ENDRX = 0;
      (void)UARTE_EV_ENDRX; /* the write has to arrive before the interrupt ends */
      rx_stopped = 1;
      break;
    }
    receive_next();
  }
  cortexm_interrupt_ticks += cortexm_ticks() - entered;
}

int nrf52_serial_waits(void) { return ring_in != ring_out; }
size_t port_serial_capacity(void) { return KWS_RX_RING_BYTES; }

size_t port_serial_read(uint8_t *out, size_t max) {
  const uint32_t from = ring_out;
  size_t n = ring_in - from;
  if (n > max) n = max;
  for (size_t i = 0; i < n; i++) out[i] = ring[(from + i) % KWS_RX_RING_BYTES];
  ring_out = from + n;
  if (rx_stopped && n) {
    const uint32_t irq = irq_save();
    rx_stopped = 0;
    receive_next();
    irq_restore(irq);
  }
  return n;
}

static int wait_sent(void) {
  if (!tx_busy) return 1;
  for (uint32_t i = 0; i < SEND_WAIT; i++) {
    if (UARTE_EV_ENDTX) {
      tx_busy = 0;
      return 1;
    }
  }
  return 0;
}

size_t port_serial_write(const uint8_t *data, size_t n) {
  size_t taken = 0;
  while (taken < n) {
    uint8_t *buffer = tx[tx_next];
    size_t part = n - taken;
    if (part > TX_BYTES) part = TX_BYTES;
    for (size_t i = 0; i < part; i++) buffer[i] = data[taken + i];
    if (!wait_sent()) break;
    UARTE_TXD_PTR = (uint32_t)buffer;
    UARTE_TXD_MAXCNT = part;
    UARTE_EV_ENDTX = 0;
    UARTE_STARTTX = 1;
    tx_busy = 1;
    tx_next ^= 1u;
    taken += part;
  }
  stats.tx_bytes += taken;
  return taken;
}

void port_serial_stats(port_serial_stats_t *out) {
  const uint32_t irq = irq_save();
  *out = stats;
  irq_restore(irq);
}
