/* Vector table (nRF52840 Product Specification 4.2.4: the interrupt's number is the peripheral's). */
#include "nrf52.h"

void Fault_Handler(void);
void UARTE0_Handler(void);
void PDM_Handler(void);

/* The millisecond, with the stacked frame of what it interrupted. */
__attribute__((naked)) static void Timer1_Handler(void) { __asm volatile("mrs r0, msp\n b nrf52_millisecond"); }

#define DEVICE_VECTORS 48

typedef struct {
  uint32_t *initial_sp;
  vector_t system[15];
  vector_t device[DEVICE_VECTORS];
} vectors_t;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* a default for all, then the exceptions */
__attribute__((section(".vectors"), used)) static const vectors_t vectors = {
    .initial_sp = _stack_top,
    .system = {[0] = Reset_Handler, [1 ... 14] = Fault_Handler},
    .device =
        {
            [0 ... DEVICE_VECTORS - 1] = Fault_Handler,
            [UARTE0_IRQ] = UARTE0_Handler,
            [TIMER1_IRQ] = Timer1_Handler,
            [PDM_IRQ] = PDM_Handler,
        },
};
#pragma GCC diagnostic pop
