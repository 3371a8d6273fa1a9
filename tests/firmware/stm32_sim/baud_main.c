/* The STM32's USARTs set to a baud rate, of which the registers' values give the rate back: BAUD, and a board's defines. */
#include "registers.h"

#include "stm32.h"

volatile uint32_t *sim_reg(uint32_t address) { return cell(address); }
uint32_t cortexm_unseen_ticks(volatile uint32_t *pend, uint32_t bit) {
  (void)pend;
  (void)bit;
  return 0;
}

int main(void) {
  const stm32_clocks_t clocks = {SIM_HZ, SIM_HZ, SIM_HZ, SIM_HZ};
  static const uint32_t prescalers[] = {1, 2, 4, 6, 8, 10, 12, 16, 32, 64, 128, 256}; /* USARTx_PRESC, RM0432 */
  uint32_t hz = SIM_HZ;
  stm32_serial_init(&clocks);
#ifdef USART_PRESC
  CHECK(USART_PRESC(KWS_UART_BASE) < 12);
  hz /= prescalers[USART_PRESC(KWS_UART_BASE)];
#else
  (void)prescalers;
#endif
  const uint32_t divider = USART_BRR(KWS_UART_BASE);
  if (KWS_UART_BRR_FACTOR == 256) {
    CHECK(divider >= 0x300 && divider <= 0xFFFFF); /* RM0432, LPUART_BRR */
    CHECK(hz >= 3 * KWS_SERIAL_BAUD && hz <= 4096 * KWS_SERIAL_BAUD);
  } else {
    CHECK(divider >= 16 && divider <= 0xFFFF);
  }
  const int64_t rate = (int64_t)hz * KWS_UART_BRR_FACTOR / divider;
  CHECK((rate - KWS_SERIAL_BAUD) * 100 <= KWS_SERIAL_BAUD && (KWS_SERIAL_BAUD - rate) * 100 <= KWS_SERIAL_BAUD);
  CHECK(USART_CR1(KWS_UART_BASE) & USART_CR1_UE);
  return 0;
}
