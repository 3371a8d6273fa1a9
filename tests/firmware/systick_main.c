/* ports/cortexm/timing.c where SysTick is the only timer: its count never runs backwards, in the main loop or in a
 * handler that the millisecond's interrupt has to wait for, and interrupts take no more of it than they do.
 * Output: the largest step in the loop and in the handler, what interrupts took, and all that passed. */
#include <string.h>

#include "cortexm.h"
#include "m4.h"

#define CORE_HZ 16000000u
#define MILLISECONDS 20u

void cortexm_watchdog_bite(const uint32_t *frame) {
  (void)frame;
  t_fail("bitten");
}
void cortexm_hardware_watchdog_start(void) {}
void cortexm_hardware_watchdog_feed(void) {}

extern void SysTick_Handler(void);
static const void *vectors[32] __attribute__((aligned(128)));
static uint32_t step_in_handler;

static uint32_t largest_step(uint32_t ticks) {
  uint32_t most = 0;
  const uint32_t from = port_ticks();
  for (uint32_t last = from; last - from < ticks;) {
    const uint32_t now = port_ticks();
    if (now - last > most) most = now - last;
    last = now;
  }
  return most;
}

/* Longer than a millisecond, so that one ends meanwhile. */
static void long_handler(void) {
  const uint32_t entered = cortexm_ticks();
  step_in_handler = largest_step(CORE_HZ / 1000u * 5u / 4u);
  cortexm_interrupt_ticks += cortexm_ticks() - entered;
}

int main(void) {
  memcpy(vectors, (const void *)SCB_VTOR, 16 * sizeof *vectors);
  vectors[15] = (const void *)SysTick_Handler;
  vectors[16] = (const void *)long_handler;
  SCB_VTOR = (uint32_t)vectors;
  cortexm_systick_start(CORE_HZ);
  cortexm_timing_init(CORE_HZ, NULL, NULL, 0);
  if (strcmp(port_clock()->source, "SYSTICK")) t_fail("another timer");
  const uint32_t from = port_ticks(), interrupts = cortexm_interrupt_ticks;
  uint32_t result[5] = {largest_step(MILLISECONDS * (CORE_HZ / 1000u))};
  result[1] = cortexm_interrupt_ticks - interrupts;
  NVIC_ISER(0) = 1u;
  REG32(0xE000E200) = 1u; /* NVIC_ISPR0: interrupt 0 waits */
  __asm volatile("dsb\n isb" ::: "memory");
  result[2] = step_in_handler;
  result[3] = cortexm_interrupt_ticks - interrupts;
  result[4] = port_ticks() - from;
  t_write(result, sizeof result);
  return 0;
}
