/* What the models of both families' hardware begin with: registers as cells, and what a driver takes from its port. */
#ifndef KWS_SIM_REGISTERS_H
#define KWS_SIM_REGISTERS_H

#include <stdint.h>

#include "m4.h"

volatile uint32_t *cortexm_counter, *cortexm_capture;
volatile uint32_t cortexm_interrupt_ticks, cortexm_millis;
uint32_t cortexm_systick_ticks(void) { return 0; }

#define TEXT_OF(line) #line
#define CHECK_AT(line, what, text)                        \
  do {                                                    \
    if (!(what)) t_fail("line " TEXT_OF(line) ": " text); \
  } while (0)
#define CHECK(what) CHECK_AT(__LINE__, what, #what)

/* A register is there when it is asked for, and holds what was written to it. */
enum { CELLS = 128 };
static struct {
  uint32_t address, value;
} cells[CELLS];
static uint32_t num_cells;

static volatile uint32_t *cell(uint32_t address) {
  for (uint32_t i = 0; i < num_cells; i++) {
    if (cells[i].address == address) return &cells[i].value;
  }
  CHECK(num_cells < CELLS);
  cells[num_cells].address = address;
  return &cells[num_cells++].value;
}

#endif
