/* Ticks of a region, less those of the interrupts that fell into it. */
#ifndef APP_WATCH_H
#define APP_WATCH_H

#include "port.h"

typedef uint32_t stopwatch_t;

static inline stopwatch_t watch_start(void) { return port_own_ticks(); }
static inline uint32_t watch_stop(stopwatch_t from) { return port_own_ticks() - from; }

#endif
