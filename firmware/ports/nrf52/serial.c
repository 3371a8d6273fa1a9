/* UARTE0 with EasyDMA, double buffered in both directions.
 *
 * Sending: one buffer goes out while the next is filled. Receiving: the ring is a row of blocks; while one fills, the
 * pointer to the next is set, and the ENDRX_STARTRX shortcut goes on with it without a gap. UARTE does not tell how much
 * of an unfinished block has come, so TIMER2 counts RXDRDY through PPI: whatever came can be read at once, and the
 * processor has one interrupt a block.
 *
 * A UARTE without that shortcut is Renode's. It holds bytes back as long as ENDRX is set, gives one of those that wait to
 * each STARTRX, and writes what comes before that behind the end of the finished transfer. It gets transfers of one byte. */
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
#elif KWS_SERIAL_BAUD == 9600
#define BAUDRATE 0x00275000u
#else
#error "kws.serial.baud: UARTE knows 9600, 115200, 230400, 460800, 921600 and 1000000"
#endif

#define TX_BYTES 256u
/* Loops that surely take longer than a whole buffer on the line: a loop is more than four cycles. */
#define SEND_WAIT (NRF52_CORE_HZ / KWS_SERIAL_BAUD * 10u * TX_BYTES)

#define BLOCK 64u /* of a transfer; longer gains nothing, and the ring can't be filled to its last two blocks */
#define STOP_WAIT (NRF52_CORE_HZ / KWS_SERIAL_BAUD * 10u * 8u) /* loops that surely take longer than the FIFO's bytes */

_Static_assert(KWS_RX_RING_BYTES % BLOCK == 0, "the ring is a row of blocks");

/* Positions are bytes since reception began, modulo the ring's size an index. */
static uint8_t ring[KWS_RX_RING_BYTES];
static volatile uint32_t ring_out; /* what was taken out */
static volatile int rx_stopped;    /* the ring was full; whoever reads starts again */
static port_serial_stats_t stats;
static int in_blocks;
/* One byte a transfer. */
static volatile uint32_t ring_in;
/* In blocks. */
static volatile uint32_t next_block; /* follows the one that is being filled, and is given already if there is room */
static volatile int out_of_step;     /* the count and the ring no longer agree: whoever reads begins anew */
static uint32_t came_before;         /* what had come at the last read */

static uint8_t tx[2][TX_BYTES];
static uint32_t tx_next; /* the buffer that is free, or will be when the other is out */
static int tx_busy;

/* These only with interrupts off, or from the interrupt. */

/* The pointer is taken while ENDRX still holds bytes back; the second start is for one that waits, and does nothing if
 * one came just before it. */
static void receive_byte(void) {
  UARTE_RXD_PTR = (uint32_t)&ring[ring_in % KWS_RX_RING_BYTES];
  UARTE_STARTRX = 1;
  UARTE_EV_ENDRX = 0;
  UARTE_STARTRX = 1;
}

static int room_for_block(void) { return next_block + BLOCK - ring_out <= KWS_RX_RING_BYTES; }

static void receive_blocks(void) {
  rx_stopped = 0;
  UARTE_RXD_PTR = (uint32_t)&ring[next_block % KWS_RX_RING_BYTES];
  UARTE_SHORTS = UARTE_SHORT_ENDRX_STARTRX;
  UARTE_STARTRX = 1;
}

static uint32_t count(void) {
  TIMER_CAPTURE0(2) = 1;
  return TIMER_CC0(2);
}

static void receive_from_the_start(void) {
  UARTE_EV_ENDRX = 0;
  UARTE_EV_RXSTARTED = 0;
  TIMER_CLEAR(2) = 1;
  ring_out = next_block = came_before = 0;
  out_of_step = 0;
  receive_blocks();
}

/* What waits is given up with what was lost: the link sends damaged frames again. */
static void begin_anew(void) {
  UARTE_SHORTS = 0;
  UARTE_EV_RXTO = 0;
  UARTE_STOPRX = 1;
  for (uint32_t i = 0; i < STOP_WAIT && !UARTE_EV_RXTO; i++) {}
  UARTE_RXD_PTR = (uint32_t)ring; /* for what is left in the FIFO (6.34.4) */
  UARTE_EV_ENDRX = 0;
  UARTE_FLUSHRX = 1;
  for (uint32_t i = 0; i < STOP_WAIT && !UARTE_EV_ENDRX; i++) {}
  receive_from_the_start();
}

static void start_blocks(void) {
  TIMER_MODE(2) = TIMER_MODE_COUNTER;
  TIMER_BITMODE(2) = 3; /* 32 bits */
  TIMER_START(2) = 1;
  PPI_CH_EEP(0) = UARTE_EV_RXDRDY_ADDRESS;
  PPI_CH_TEP(0) = TIMER_COUNT_ADDRESS(2);
  PPI_CHENSET = 1u << 0;
  UARTE_RXD_MAXCNT = BLOCK;
  UARTE_INTENSET = UARTE_INT_RXSTARTED;
  receive_from_the_start();
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
  UARTE_EV_ERROR = 0;
  UARTE_EV_ENDRX = 0;
  UARTE_INTENSET = UARTE_INT_ENDRX | UARTE_INT_ERROR;
  UARTE_SHORTS = UARTE_SHORT_ENDRX_STARTRX;
  in_blocks = UARTE_SHORTS == UARTE_SHORT_ENDRX_STARTRX;
  if (in_blocks) {
    start_blocks();
  } else {
    UARTE_RXD_MAXCNT = 1;
    receive_byte();
  }
  NVIC_ISER(UARTE0_IRQ / 32) = 1u << (UARTE0_IRQ % 32);
}

static void bytes_came(void) {
  if (rx_stopped) return;
  /* All that is there; bounded by the ring, so that a babbling line can't hold us here for ever. */
  for (uint32_t i = 0; i < KWS_RX_RING_BYTES && UARTE_EV_ENDRX; i++) {
    const uint32_t in = ring_in + 1;
    ring_in = in;
    if (in - ring_out == KWS_RX_RING_BYTES) {
      UARTE_INTENCLR = UARTE_INT_ENDRX; /* the event stays, and holds the rest back */
      rx_stopped = 1;
      break;
    }
    receive_byte();
  }
}

static void blocks_came(void) {
  if (UARTE_EV_ENDRX) {
    UARTE_EV_ENDRX = 0;
    if (!UARTE_SHORTS) { /* nothing has begun after it */
      if (room_for_block()) receive_blocks();
      else rx_stopped = 1;
    }
  }
  if (UARTE_EV_RXSTARTED) {
    UARTE_EV_RXSTARTED = 0;
    /* The count must lie in the block that has begun, or we are a block too late, or bytes were lost on the way. */
    if (count() - next_block >= BLOCK) out_of_step = 1;
    next_block += BLOCK;
    if (room_for_block()) UARTE_RXD_PTR = (uint32_t)&ring[next_block % KWS_RX_RING_BYTES];
    else UARTE_SHORTS = 0;
  }
}

void UARTE0_Handler(void) {
  const uint32_t entered = cortexm_ticks();
  if (UARTE_EV_ERROR) {
    UARTE_EV_ERROR = 0;
    const uint32_t source = UARTE_ERRORSRC;
    UARTE_ERRORSRC = source;
    if (source & UARTE_ERRORSRC_OVERRUN) {
      stats.rx_overrun++;
      out_of_step = in_blocks;
    }
    if (source & ~UARTE_ERRORSRC_OVERRUN) stats.rx_framing++;
  }
  if (in_blocks) blocks_came();
  else bytes_came();
  (void)UARTE_EV_ENDRX; /* the writes have to arrive before the interrupt ends */
  cortexm_interrupt_ticks += cortexm_ticks() - entered;
}

/* What has come; of blocks only as far as the interrupt knows, since what is counted behind that may still be in the FIFO. */
static uint32_t came(void) {
  if (!in_blocks) return ring_in;
  const uint32_t known = next_block, n = count();
  return (int32_t)(n - known) > 0 ? known : n;
}

int nrf52_serial_waits(void) { return out_of_step || came() != ring_out; }
/* What can come without loss while nobody reads: a block is given to UARTE only if it is free as a whole. */
size_t port_serial_capacity(void) { return KWS_RX_RING_BYTES - (in_blocks ? 2u * BLOCK : 0); }

size_t port_serial_read(uint8_t *out, size_t max) {
  if (out_of_step) {
    const uint32_t irq = irq_save();
    begin_anew();
    irq_restore(irq);
  }
  const uint32_t from = ring_out, now = came();
  /* RXDRDY says that a byte is in the FIFO, not yet that EasyDMA has moved it: one turn of the main loop later it has. */
  size_t n = (in_blocks ? came_before : now) - from;
  came_before = now;
  if (n > max) n = max;
  for (size_t i = 0; i < n; i++) out[i] = ring[(from + i) % KWS_RX_RING_BYTES];
  ring_out = from + n;
  stats.rx_bytes += n;
  if (rx_stopped && n) {
    const uint32_t irq = irq_save();
    if (!in_blocks) {
      rx_stopped = 0;
      receive_byte();
      UARTE_INTENSET = UARTE_INT_ENDRX;
    } else if (room_for_block()) {
      receive_blocks();
    }
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
