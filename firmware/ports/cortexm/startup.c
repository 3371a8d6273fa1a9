/* From reset to main(). The vector table's device part is given by the family (KWS_VECTORS in vectors.h). */
#include <stdint.h>
#include <string.h>

#include "cortexm.h"

extern uint32_t _data_load[], _data_start[], _data_end[], _bss_start[], _bss_end[];
extern const vector_t __init_array_start[], __init_array_end[]; /* of C++ (engine tflm); empty in C */
int main(void);

#define STACK_PAINT 0xC5C5C5C5u

__attribute__((noreturn, used)) static void start(void) {
  memcpy(_data_start, _data_load, (size_t)((char *)_data_end - (char *)_data_start));
  memset(_bss_start, 0, (size_t)((char *)_bss_end - (char *)_bss_start));
  for (const vector_t *constructor = __init_array_start; constructor < __init_array_end; constructor++)
    (*constructor)();
  (void)main();
  for (;;) {}
}

/* Naked, since the stack is painted under its feet: everything below the present top gets a pattern by which
 * port_memory() sees how deep it went. */
__attribute__((naked, noreturn, section(".text.Reset_Handler"))) void Reset_Handler(void) {
  __asm volatile("movs r0, #0\n"
                 "ldr r1, =0xE000ED94\n" /* MPU_CTRL: the guard of a previous run, or a boot loader's regions */
                 "str r0, [r1]\n"
                 "dsb\n"
                 "ldr r0, =_stack_bottom\n"
                 "ldr r1, =_stack_top\n"
                 "msr msp, r1\n"
                 "movs r2, #0\n"
                 "msr control, r2\n" /* a boot loader may have left us on its thread's stack, */
                 "isb\n"
                 "cpsie i\n" /* with interrupts off, */
                 "ldr r2, =_vectors\n"
                 "ldr r3, =0xE000ED08\n" /* and with its own vector table (VTOR) */
                 "str r2, [r3]\n"
                 "ldr r2, =%c0\n"
                 "1: str r2, [r0], #4\n"
                 "cmp r0, r1\n"
                 "blo 1b\n"
                 "ldr r0, =0xE000ED88\n" /* CPACR: the FPU, before any code may use it */
                 "ldr r1, [r0]\n"
                 "orr r1, r1, #0xF00000\n"
                 "str r1, [r0]\n"
                 "dsb\n"
                 "isb\n"
                 "b %c1\n" ::"i"(STACK_PAINT),
                 "i"(start));
}

void port_memory(port_memory_t *out) {
  const volatile uint32_t *p = _stack_guard_end;
  while (p < _stack_top && *p == STACK_PAINT) p++;
  out->stack_bytes = (uint32_t)((char *)_stack_top - (char *)_stack_bottom);
  out->stack_used = (uint32_t)((const char *)_stack_top - (const volatile char *)p);
  out->free_ram = (uint32_t)((char *)_ram_end - (char *)_heap_none);
}
