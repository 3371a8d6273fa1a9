/* Ticks of a region, less those of the interrupts that fell into it. */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include "port.h"

typedef struct {
  uint32_t ticks, interrupts;
} stopwatch_t;

static inline stopwatch_t watch_start(void) {
  stopwatch_t w;
  w.interrupts = port_interrupt_ticks();
  w.ticks = port_ticks();
  return w;
}

static inline uint32_t watch_stop(stopwatch_t w) {
  const uint32_t ticks = port_ticks() - w.ticks;
  return ticks - (port_interrupt_ticks() - w.interrupts);
}

#endif
