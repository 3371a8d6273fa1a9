/* Vector table (RM0090 table 62, RM0432 table 77). Only what is used has a handler; the rest is a fault with its record. */
#include "stm32.h"

#ifndef KWS_UART_IRQ
#define KWS_UART_IRQ 38
#endif

void Fault_Handler(void);
void SysTick_Handler(void);
void KWS_UART_Handler(void);
void KWS_PDM_Handler(void);

typedef struct {
  uint32_t *initial_sp;
  vector_t system[15];
  vector_t device[STM32_DEVICE_VECTORS];
} vectors_t;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* a default for all, then the exceptions */
__attribute__((section(".vectors"), used)) static const vectors_t vectors = {
    .initial_sp = _stack_top,
    .system = {[0] = Reset_Handler, [1 ... 13] = Fault_Handler, [14] = SysTick_Handler},
    .device =
        {
            [0 ... STM32_DEVICE_VECTORS - 1] = Fault_Handler,
            [KWS_UART_IRQ] = KWS_UART_Handler,
#ifdef KWS_PDM_CLK_PORT
            [DMA1_STREAM3_IRQ] = KWS_PDM_Handler,
#endif
        },
};
#pragma GCC diagnostic pop
