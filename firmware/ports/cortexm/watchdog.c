/* The main loop feeds; whoever does not for LIMIT_MS is ended. */
#include "cortexm.h"

/* Longer than the slowest inference at the slowest clock: TFLM's reference kernels on 16 MHz need four seconds. */
#define LIMIT_MS 5000u

volatile uint32_t cortexm_millis;
static volatile uint32_t fed_at;
static volatile int started;
static uint32_t unseen;

uint32_t port_millis(void) { return cortexm_millis; }

void cortexm_millisecond_measure(volatile uint32_t *pend, uint32_t bit) {
  const uint32_t now = cortexm_millis;
  unseen = cortexm_unseen_ticks(pend, bit);
  cortexm_millis = now; /* the asked-for ones were none */
}

void cortexm_watchdog_start(void) {
  fed_at = cortexm_millis;
  started = 1;
  cortexm_hardware_watchdog_start();
}

void port_watchdog_feed(void) {
  const uint32_t now = cortexm_millis;
  if (now == fed_at) return; /* once a millisecond is plenty, and the hardware's register is slow */
  fed_at = now;
  cortexm_hardware_watchdog_feed();
}

__attribute__((used)) void cortexm_millisecond(const uint32_t *frame) {
  const uint32_t now = cortexm_millis + 1u;
  cortexm_millis = now; /* first: SysTick, where ticks are its, has begun anew */
  const uint32_t entered = cortexm_ticks();
  if (started && now - fed_at > LIMIT_MS) cortexm_watchdog_bite(frame);
  cortexm_interrupt_ticks += cortexm_ticks() - entered + unseen;
}
