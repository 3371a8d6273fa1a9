#include <stddef.h>

#include "cortexm.h"

#define CALIBRATION_LOOPS 1000u
/* From one counter read to the next: the loop's two instructions each time, and the first read itself. */
#define CALIBRATION_INSTRUCTIONS (2u * CALIBRATION_LOOPS + 1u)

volatile uint32_t *cortexm_counter;
volatile uint32_t *cortexm_capture;
volatile uint32_t cortexm_interrupt_ticks;
static uint32_t systick_reload;
static port_clock_t clock_info;

__attribute__((naked)) void SysTick_Handler(void) { __asm volatile("mrs r0, msp\n b cortexm_millisecond"); }

uint32_t cortexm_systick_ticks(void) {
  /* Read until no tick fell between; bounded, since an interrupt comes once a millisecond. */
  uint32_t ms, value, waits;
  int tries = 4;
  do {
    ms = cortexm_millis;
    value = SYST_CVR;
    /* In another interrupt's handler the millisecond has to wait: the count began anew, cortexm_millis does not know.
     * The interrupt comes with the count's 0, one tick before it begins anew. */
    waits = SCB_ICSR & SCB_ICSR_PENDSTSET;
    if (waits && (value = SYST_CVR) != 0) ms++;
  } while (!waits && ms != cortexm_millis && --tries);
  return ms * (systick_reload + 1) + (systick_reload - value);
}

static int counts(volatile uint32_t *counter, volatile uint32_t *capture) {
  if (capture) *capture = 1;
  const uint32_t before = *counter;
  for (int i = 0; i < 64; i++) __asm volatile("nop");
  if (capture) *capture = 1;
  return *counter != before;
}

/* A loop whose number of instructions is known. Whoever reads both numbers can tell whether ticks are
 * instructions (as under QEMU -icount) or something else. */
__attribute__((noinline)) static uint32_t calibrate(volatile uint32_t *counter) {
  uint32_t from, to, n = CALIBRATION_LOOPS;
  const uint32_t irq = irq_save();
  __asm volatile(".balign 8\n"
                 "ldr %0, [%3]\n"
                 "1: subs %2, #1\n"
                 "bne 1b\n"
                 "ldr %1, [%3]\n"
                 : "=&l"(from), "=&l"(to), "+l"(n)
                 : "l"(counter)
                 : "cc", "memory");
  irq_restore(irq);
  return to - from;
}

void cortexm_systick_start(uint32_t core_hz) {
  systick_reload = core_hz / 1000u - 1u;
  SYST_RVR = systick_reload;
  SYST_CVR = 0;
  SYST_CSR = 7; /* core clock, interrupt, enable */
}

void cortexm_timing_init(uint32_t core_hz, volatile uint32_t *timer, const char *timer_name, uint32_t timer_hz) {
  volatile uint32_t *const capture = cortexm_capture;
  cortexm_capture = NULL;
  SCB_DEMCR |= 1u << 24; /* TRCENA */
  DWT_CYCCNT = 0;
  DWT_CTRL |= 1u;
  clock_info.core_hz = core_hz;
  if (counts(&DWT_CYCCNT, NULL)) {
    cortexm_counter = &DWT_CYCCNT;
    clock_info.source = "DWT";
    clock_info.hz = core_hz;
  } else if (timer && counts(timer, capture)) {
    cortexm_capture = capture;
    cortexm_counter = timer;
    clock_info.source = timer_name;
    clock_info.hz = timer_hz;
  } else {
    cortexm_counter = NULL;
    clock_info.source = "SYSTICK";
    clock_info.hz = core_hz;
  }
  if (cortexm_counter && !cortexm_capture) {
    clock_info.calibration_expected = CALIBRATION_INSTRUCTIONS;
    clock_info.calibration_ticks = calibrate(cortexm_counter);
  }
}

/* Ticks of a passage with interrupts let in, less what the handlers count of themselves; with a bit to write, in it. */
__attribute__((noinline)) static uint32_t passage(volatile uint32_t *pend, uint32_t bit) {
  const uint32_t irq = irq_save();
  *pend = bit; /* nothing, if 0 */
  const uint32_t counted = cortexm_interrupt_ticks, from = cortexm_ticks();
  __asm volatile("cpsie i\n dsb\n isb\n cpsid i" ::: "memory");
  const uint32_t ticks = cortexm_ticks() - from - (cortexm_interrupt_ticks - counted);
  irq_restore(irq);
  return ticks;
}

uint32_t cortexm_unseen_ticks(volatile uint32_t *pend, uint32_t bit) {
  uint32_t with = UINT32_MAX, without = UINT32_MAX;
  if (!cortexm_counter) return 0;
  for (int i = 0; i < 4; i++) { /* another interrupt may come in between: the least has none */
    uint32_t ticks = passage(pend, 0);
    if (ticks < without) without = ticks;
    ticks = passage(pend, bit);
    if (ticks < with) with = ticks;
  }
  return with > without ? with - without : 0;
}

const port_clock_t *port_clock(void) { return &clock_info; }
uint32_t port_ticks(void) { return cortexm_ticks(); }
uint32_t port_own_ticks(void) {
  /* With interrupts off: one between the two reads would be in one of them alone. */
  const uint32_t irq = irq_save();
  const uint32_t ticks = cortexm_ticks() - cortexm_interrupt_ticks;
  irq_restore(irq);
  return ticks;
}
