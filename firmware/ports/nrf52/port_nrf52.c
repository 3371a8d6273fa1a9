/* port.h for the nRF52840, on what ports/cortexm gives. */
#include "nrf52.h"

#define WATCHDOG_SECONDS 10u
#define WAIT_LOOPS 200000u /* more than the 3 ms that the crystal may take to start */

static port_reset_reason_t read_reset_reason(void) {
  const uint32_t reasons = POWER_RESETREAS;
  POWER_RESETREAS = reasons; /* bits are cleared by writing 1 */
  if (reasons & RESETREAS_DOG) return PORT_RESET_WATCHDOG;
  if (reasons & RESETREAS_LOCKUP) return PORT_RESET_FAULT;
  if (reasons & RESETREAS_SOFT) return PORT_RESET_SOFTWARE;
  if (reasons & RESETREAS_PIN) return PORT_RESET_PIN;
  return reasons ? PORT_RESET_UNKNOWN : PORT_RESET_POWER;
}

static void start_crystal(void) {
  CLOCK_HFCLKSTARTED = 0;
  CLOCK_HFCLKSTART = 1;
  /* If it does not come, the internal oscillator stays: good enough for the UART, a little off pitch for PDM. */
  for (uint32_t i = 0; i < WAIT_LOOPS && !CLOCK_HFCLKSTARTED; i++) {}
}

static void start_timers(void) {
  TIMER_MODE(0) = 0;
  TIMER_BITMODE(0) = 3; /* 32 bits */
  TIMER_PRESCALER(0) = 0;
  TIMER_CLEAR(0) = 1;
  TIMER_START(0) = 1;
  /* The millisecond comes from a TIMER, since SysTick stands still while the processor sleeps. */
  TIMER_MODE(1) = 0;
  TIMER_BITMODE(1) = 3;
  TIMER_PRESCALER(1) = 4; /* 1 MHz */
  TIMER_CLEAR(1) = 1;
  TIMER_CC0(1) = 1000;
  TIMER_EV_COMPARE0(1) = 0;
  TIMER_INTENSET(1) = 1u << 16;
  NVIC_ISER(TIMER1_IRQ / 32) = 1u << (TIMER1_IRQ % 32);
  TIMER_START(1) = 1;
}

void nrf52_millisecond(const uint32_t *frame) {
  TIMER_EV_COMPARE0(1) = 0;
  /* If a debugger held us for longer than a millisecond, the next one is already past. */
  uint32_t next = TIMER_CC0(1) + 1000u;
  TIMER_CAPTURE1(1) = 1;
  const uint32_t now = TIMER_CC1(1);
  if ((int32_t)(next - now) <= 0) next = now + 1000u;
  TIMER_CC0(1) = next;
  cortexm_millisecond(frame);
}

void cortexm_hardware_watchdog_start(void) {
  /* It lives through a soft reset, and can't be set up twice. */
  WDT_CONFIG = 1u; /* goes on while the processor sleeps, pauses while a debugger holds it */
  WDT_CRV = 32768u * WATCHDOG_SECONDS - 1u;
  WDT_RREN = 1u;
  WDT_START = 1u;
}

void cortexm_hardware_watchdog_feed(void) { WDT_RR0 = WDT_RELOAD; }

void port_init(void) {
  /* The boot loader may leave interrupts of its own behind. */
  for (uint32_t i = 0; i < 2; i++) {
    NVIC_ICER(i) = 0xFFFFFFFFu;
    NVIC_ICPR(i) = 0xFFFFFFFFu;
  }
  SYST_CSR = 0;
  cortexm_fault_init(read_reset_reason());
  start_crystal();
  start_timers();
  cortexm_capture = (volatile uint32_t *)TIMER_CAPTURE0_ADDRESS(0);
  cortexm_timing_init(NRF52_CORE_HZ, (volatile uint32_t *)TIMER_CC0_ADDRESS(0), "TIMER0", 16000000u);
#ifdef KWS_LED_PIN
  GPIO_CNF(KWS_LED_PIN) = GPIO_CNF_OUTPUT;
#endif
  nrf52_serial_init();
  cortexm_watchdog_start();
}

void port_idle(void) {
  const uint32_t irq = irq_save(); /* WFI wakes on a pending interrupt even so, and none can slip in before it */
  if (!nrf52_serial_waits() && !nrf52_audio_waits()) __asm volatile("dsb\n wfi" ::: "memory");
  irq_restore(irq);
}

void port_led(int on) {
#ifdef KWS_LED_PIN
  if (on) GPIO_OUTSET(KWS_LED_PIN) = GPIO_MASK(KWS_LED_PIN);
  else GPIO_OUTCLR(KWS_LED_PIN) = GPIO_MASK(KWS_LED_PIN);
#else
  (void)on;
#endif
}
