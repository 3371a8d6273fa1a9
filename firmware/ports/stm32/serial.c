/* USART: received bytes go into a ring by interrupt, sending polls with a bound. */
#include "stm32.h"

#ifndef KWS_UART_BASE
#define KWS_UART_BASE 0x40004400u /* USART2 */
#endif
#ifndef KWS_UART_IRQ
#define KWS_UART_IRQ 38
#endif
#ifndef KWS_UART_CLOCK_BIT
#define KWS_UART_CLOCK_BIT 17
#endif
#ifndef KWS_UART_BUS
#define KWS_UART_BUS 0 /* see RCC_UARTENR */
#endif
/* Baud rate divider for 16 times oversampling: in sixteenths, so clock / baud; an LPUART's: in 256ths. */
#ifndef KWS_UART_BRR_FACTOR
#define KWS_UART_BRR_FACTOR 1u
#endif
#ifndef KWS_UART_TX_PORT
#define KWS_UART_TX_PORT 0
#define KWS_UART_TX_PIN 2
#define KWS_UART_RX_PORT 0
#define KWS_UART_RX_PIN 3
#define KWS_UART_AF 7
#endif
#ifndef KWS_SERIAL_BAUD
#define KWS_SERIAL_BAUD 500000
#endif
#ifndef KWS_RX_RING_BYTES
#define KWS_RX_RING_BYTES 8192u /* 15 frames of the longest kind in flight */
#endif
_Static_assert((KWS_RX_RING_BYTES & (KWS_RX_RING_BYTES - 1u)) == 0, "the ring's size is a power of two");

static uint8_t ring[KWS_RX_RING_BYTES];
static volatile uint32_t ring_in, ring_out; /* bytes ever put in and taken out */
static port_serial_stats_t stats;
static uint32_t unseen;    /* ticks of an interrupt that it does not see itself */
static uint32_t send_wait; /* loops that are surely longer than ten bytes take */

static void pin_to_usart(uint32_t port, uint32_t pin) {
  RCC_GPIOENR |= 1u << port;
  (void)RCC_GPIOENR; /* the clock needs two cycles (RM0090 7.3.14) */
  GPIO_AFR(port, pin) = (GPIO_AFR(port, pin) & ~(15u << 4 * (pin & 7))) | ((uint32_t)KWS_UART_AF << 4 * (pin & 7));
  GPIO_OSPEEDR(port) |= 2u << 2 * pin;
  GPIO_PUPDR(port) = (GPIO_PUPDR(port) & ~(3u << 2 * pin)) | (1u << 2 * pin); /* an open line is idle */
  GPIO_MODER(port) = (GPIO_MODER(port) & ~(3u << 2 * pin)) | (2u << 2 * pin);
}

void stm32_serial_init(const stm32_clocks_t *clocks) {
  const uint64_t hz = (uint64_t)(KWS_UART_BUS == 1 ? clocks->apb2_hz : clocks->apb1_hz) * KWS_UART_BRR_FACTOR;
  RCC_UARTENR(KWS_UART_BUS) |= 1u << KWS_UART_CLOCK_BIT;
  pin_to_usart(KWS_UART_TX_PORT, KWS_UART_TX_PIN);
  pin_to_usart(KWS_UART_RX_PORT, KWS_UART_RX_PIN);
  uint64_t divider = (hz + KWS_SERIAL_BAUD / 2u) / KWS_SERIAL_BAUD;
#ifdef USART_PRESC
  if (divider > USART_BRR_MOST) { /* an LPUART takes its clock to be at most 4096 times as fast as its line */
    USART_PRESC(KWS_UART_BASE) = USART_PRESC_8;
    divider = (hz / 8u + KWS_SERIAL_BAUD / 2u) / KWS_SERIAL_BAUD;
  }
#endif
  USART_BRR(KWS_UART_BASE) = (uint32_t)divider;
  USART_CR1(KWS_UART_BASE) = USART_CR1_UE | USART_CR1_RE | USART_CR1_TE | USART_CR1_RXNEIE;
  NVIC_ISER(KWS_UART_IRQ / 32) = 1u << (KWS_UART_IRQ % 32);
  unseen = cortexm_unseen_ticks(&NVIC_ISPR(KWS_UART_IRQ / 32), 1u << (KWS_UART_IRQ % 32));
  send_wait = clocks->core_hz / KWS_SERIAL_BAUD * 100u;
}

void KWS_UART_Handler(void) {
  const uint32_t entered = cortexm_ticks();
  uint32_t sr = USART_SR(KWS_UART_BASE);
  uint32_t in = ring_in;
  /* All that is there; bounded by the ring, so that a babbling line can't hold us here for ever. */
  for (uint32_t i = 0; i < KWS_RX_RING_BYTES && (sr & (USART_SR_RXNE | USART_SR_ORE)); i++) {
    const uint8_t byte = (uint8_t)USART_READ(KWS_UART_BASE);
    if (sr & USART_SR_ORE) stats.rx_overrun++;
    if (sr & USART_SR_ERRORS) stats.rx_framing++;
    if (sr & (USART_SR_ORE | USART_SR_ERRORS)) USART_CLEAR_ERRORS(KWS_UART_BASE);
    if (sr & USART_SR_RXNE) {
      if (in - ring_out < KWS_RX_RING_BYTES) ring[in++ % KWS_RX_RING_BYTES] = byte;
      else stats.rx_ring_overflow++;
    }
    sr = USART_SR(KWS_UART_BASE);
  }
  stats.rx_bytes += in - ring_in;
  ring_in = in;
  cortexm_interrupt_ticks += cortexm_ticks() - entered + unseen;
}

int stm32_serial_waits(void) { return ring_in != ring_out; }
size_t port_serial_capacity(void) { return KWS_RX_RING_BYTES; }

size_t port_serial_read(uint8_t *out, size_t max) {
  const uint32_t from = ring_out;
  size_t n = ring_in - from;
  if (n > max) n = max;
  for (size_t i = 0; i < n; i++) out[i] = ring[(from + i) % KWS_RX_RING_BYTES];
  ring_out = from + n;
  return n;
}

size_t port_serial_write(const uint8_t *data, size_t n) {
  size_t sent = 0;
  for (; sent < n; sent++) {
    uint32_t wait = send_wait;
    while (!(USART_SR(KWS_UART_BASE) & USART_SR_TXE)) {
      if (--wait == 0) goto out;
    }
    USART_WRITE(KWS_UART_BASE) = data[sent];
  }
out:
  stats.tx_bytes += sent;
  return sent;
}

void port_serial_stats(port_serial_stats_t *out) {
  const uint32_t irq = irq_save();
  *out = stats;
  irq_restore(irq);
}
