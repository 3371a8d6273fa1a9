/* app_watch.h on a clock of the test's: each call of the port takes a tick, and an interrupt of `length` ticks comes
 * before call `strike`. */
#include "app_watch.h"

static uint32_t clock_, interrupts, calls, strike, length;

static void pass(void) {
  if (calls++ == strike) {
    clock_ += length;
    interrupts += length;
  }
  clock_++;
}

uint32_t port_ticks(void) {
  pass();
  return clock_;
}
uint32_t port_interrupt_ticks(void) {
  pass();
  return interrupts;
}

/* What the watch says of a region of `region` ticks. */
uint32_t watched(uint32_t from, uint32_t region, uint32_t at, uint32_t taken) {
  clock_ = from;
  interrupts = from * 7u;
  calls = 0;
  strike = at;
  length = taken;
  const stopwatch_t watch = watch_start();
  clock_ += region;
  return watch_stop(watch);
}
