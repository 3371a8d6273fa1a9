/* Ticks of a region, less those of the interrupts that fell into it. */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include "port.h"

typedef struct {
  uint32_t ticks, interrupts;
} stopwatch_t;

static inline stopwatch_t watch_start(void) {
  stopwatch_t now;
  /* An interrupt between the two reads would be in one of them alone, and a short region end up below zero. Who is
   * interrupted here each time does not get on with anything; the watchdog sees to that. */
  do {
    now.interrupts = port_interrupt_ticks();
    now.ticks = port_ticks();
  } while (port_interrupt_ticks() != now.interrupts);
  return now;
}

static inline uint32_t watch_stop(stopwatch_t from) {
  const stopwatch_t now = watch_start();
  return now.ticks - from.ticks - (now.interrupts - from.interrupts);
}

#endif
