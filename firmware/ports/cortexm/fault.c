/* Faults end in a record in RAM that start-up does not touch, and a reset; the next run reports it.
 * Registers and bits: ARMv7-M ARM (DDI 0403) B3.2.15 to B3.2.18; stacked frame: B1.5.6. */
#include <stddef.h>

#include "cortexm.h"

#define STACK_GUARD_BYTES 256u
#define RECORD_MAGIC 0x4B575346u /* "FSWK" */

typedef struct {
  uint32_t magic;
  port_fault_t fault;
  uint32_t check; /* so that garbage after power-on is not taken for a record */
} record_t;

static record_t record __attribute__((section(".noinit")));
static port_fault_t previous;
static int have_previous;
static port_reset_reason_t reset_reason;

static uint32_t checksum(const port_fault_t *f) {
  return f->kind ^ (f->pc << 1) ^ (f->lr << 2) ^ f->cfsr ^ f->hfar ^ f->sp ^ f->uptime_ms ^ 0x9E3779B9u;
}

/* The lowest bytes of the stack can't be touched (DDI 0403 B3.5): below them may be memory, in a part or an emulator. */
static void guard_stack(void) {
  if (MPU_TYPE == 0) return;
  MPU_RBAR = (uint32_t)_stack_bottom | (1u << 4); /* region 0; RAM begins on a multiple of its size */
  MPU_RASR = (1u << 28) | (7u << 1) | 1u;         /* never execute, no access, 2^(7+1) bytes, on */
  MPU_CTRL = (1u << 2) | 1u;                      /* everything else as without MPU; off in hard faults */
  __asm volatile("dsb\n isb" ::: "memory");
}

void cortexm_fault_init(port_reset_reason_t hardware) {
  have_previous = 0;
  if (record.magic == RECORD_MAGIC && record.check == checksum(&record.fault)) {
    previous = record.fault;
    have_previous = 1;
  } else if (hardware == PORT_RESET_WATCHDOG) {
    previous = (port_fault_t){.kind = PORT_FAULT_WATCHDOG};
    have_previous = 1;
  }
  record.magic = 0;
  reset_reason = hardware;
  if (have_previous) reset_reason = previous.kind == PORT_FAULT_WATCHDOG ? PORT_RESET_WATCHDOG : PORT_RESET_FAULT;
  SCB_SHCSR |= 7u << 16; /* usage, bus and memory faults have handlers of their own */
  SCB_CCR |= 1u << 4;    /* division by zero is a fault */
  guard_stack();
}

port_reset_reason_t port_reset_reason(void) { return reset_reason; }
const port_fault_t *port_fault(void) { return have_previous ? &previous : NULL; }

__attribute__((noreturn)) void port_reset(void) {
  __asm volatile("dsb" ::: "memory");
  SCB_AIRCR = 0x05FA0004u; /* VECTKEY, SYSRESETREQ */
  __asm volatile("dsb" ::: "memory");
  for (;;) {}
}

static void add_frame(port_fault_t *f, const uint32_t *sp) {
  if (sp < _stack_bottom || sp + 8 > _stack_top) return;
  f->lr = sp[5];
  f->pc = sp[6];
}

static __attribute__((noreturn)) void end_run(const port_fault_t *f) {
  record.fault = *f;
  record.check = checksum(f);
  record.magic = RECORD_MAGIC;
  port_reset();
}

/* sp: as it was at the fault; ipsr: the exception's number. */
__attribute__((noreturn, used)) static void record_fault(const uint32_t *sp, uint32_t ipsr) {
  const uint32_t cfsr = SCB_CFSR;
  port_fault_t f = {.cfsr = cfsr, .sp = (uint32_t)sp, .uptime_ms = cortexm_millis};
  f.kind = ipsr >= 3 && ipsr <= 6 ? ipsr - 2u : PORT_FAULT_ABORT; /* HARD to USAGE are exceptions 3 to 6 */
  f.hfar = (cfsr & (1u << 15)) ? SCB_BFAR : (cfsr & (1u << 7)) ? SCB_MMFAR : 0;
  /* What runs over the stack meets the guard below it, or leaves RAM: the stacking or the access fails. */
  const uint32_t stacking_failed = cfsr & ((1u << 4) | (1u << 12));
  const int in_guard = (cfsr & (1u << 7)) && f.hfar - (uint32_t)_stack_bottom < STACK_GUARD_BYTES;
  if (stacking_failed || in_guard || sp < _stack_guard_end) f.kind = PORT_FAULT_STACK;
  if (!stacking_failed) add_frame(&f, sp);
  end_run(&f);
}

__attribute__((noreturn)) void cortexm_watchdog_bite(const uint32_t *frame) {
  port_fault_t f = {.kind = PORT_FAULT_WATCHDOG, .sp = (uint32_t)frame, .uptime_ms = cortexm_millis};
  add_frame(&f, frame);
  end_run(&f);
}

/* Starts again from the top of the stack, since what is below may be no memory at all; we never return. */
__attribute__((naked)) void Fault_Handler(void) {
  __asm volatile("mrs r0, msp\n"
                 "mrs r1, ipsr\n"
                 "ldr r2, =_stack_top\n"
                 "msr msp, r2\n"
                 "b %c0\n" ::"i"(record_fault));
}

__attribute__((noinline)) static uint32_t recurse_forever(volatile uint32_t *deeper) {
  volatile uint32_t frame[32];
  frame[0] = *deeper + 1;
  return frame[0] ? recurse_forever(frame) + frame[0] : 0;
}

int port_die(port_die_t kind) {
  switch (kind) {
    case PORT_DIE_UNDEFINED: __asm volatile("udf #0"); return 0;
    case PORT_DIE_STACK: {
      volatile uint32_t zero = 0;
      return (int)recurse_forever(&zero);
    }
    default:
      for (;;) __asm volatile("wfi"); /* interrupts go on, the main loop does not */
  }
}
