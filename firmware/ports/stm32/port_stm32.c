/* port.h for the STM32F4 and L4 series, on what ports/cortexm gives. */
#include "stm32.h"

#define WAIT_LOOPS 40000u /* more than the 2 ms a crystal may take, at 16 MHz */

int stm32_wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value) {
  for (uint32_t i = 0; i < WAIT_LOOPS; i++) {
    if ((*reg & mask) == value) return 1;
  }
  return 0;
}

static port_reset_reason_t read_reset_reason(void) {
  const uint32_t csr = RCC_CSR; /* RM0090 7.3.21, RM0432 6.4.31: the same bits but for RMVF */
  RCC_CSR = csr | RCC_CSR_RMVF; /* forget */
  if (csr & (3u << 29)) return PORT_RESET_WATCHDOG;
  if (csr & (1u << 28)) return PORT_RESET_SOFTWARE;
  if (csr & (1u << 27)) return PORT_RESET_POWER;
  if (csr & (1u << 26)) return PORT_RESET_PIN;
  return PORT_RESET_UNKNOWN;
}

void port_init(void) {
  stm32_clocks_t clocks;
  cortexm_fault_init(read_reset_reason());
  stm32_clock_init(&clocks);
  RCC_APB1ENR |= 1u; /* TIM2: 32 bits, no prescaler */
  (void)RCC_APB1ENR;
  TIM2_PSC = 0;
  TIM2_ARR = 0xFFFFFFFFu;
  TIM2_EGR = 1;
  TIM2_CR1 = 1;
  cortexm_systick_start(clocks.core_hz);
  cortexm_timing_init(clocks.core_hz, (volatile uint32_t *)TIM2_CNT_ADDRESS, "TIM2", clocks.apb1_timer_hz);
  cortexm_millisecond_measure(&SCB_ICSR, SCB_ICSR_PENDSTSET);
#ifdef KWS_LED_PORT
  RCC_GPIOENR |= 1u << KWS_LED_PORT;
  (void)RCC_GPIOENR;
  GPIO_MODER(KWS_LED_PORT) = (GPIO_MODER(KWS_LED_PORT) & ~(3u << 2 * KWS_LED_PIN)) | (1u << 2 * KWS_LED_PIN);
#endif
  stm32_serial_init(&clocks);
  cortexm_watchdog_start();
}

/* The independent watchdog, on its own oscillator of 17 to 47 kHz (RM0090 21.3, RM0432 47.3). */
void cortexm_hardware_watchdog_start(void) {
  DBGMCU_APB1_FZ |= 1u << 12; /* stands still while a debugger holds the processor */
  IWDG_KR = 0x5555;
  IWDG_PR = 6;     /* 256 */
  IWDG_RLR = 1250; /* 6.8 to 18.8 s */
  IWDG_KR = 0xCCCC;
  IWDG_KR = 0xAAAA;
}

void cortexm_hardware_watchdog_feed(void) { IWDG_KR = 0xAAAA; }

void port_idle(void) {
  const uint32_t irq = irq_save(); /* WFI wakes on a pending interrupt even so, and none can slip in before it */
  if (!stm32_serial_waits() && !stm32_audio_waits()) __asm volatile("dsb\n wfi" ::: "memory");
  irq_restore(irq);
}

void port_led(int on) {
#ifdef KWS_LED_PORT
  GPIO_BSRR(KWS_LED_PORT) = 1u << (KWS_LED_PIN + (on ? 0 : 16));
#else
  (void)on;
#endif
}
