/* What all Cortex-M ports share: registers of the ARMv7-M architecture, start-up, faults, timing.
 * Register addresses: ARMv7-M Architecture Reference Manual (DDI 0403), B3.2 and C1.8. */
#ifndef KWS_CORTEXM_H
#define KWS_CORTEXM_H

#include <stdint.h>

#include "port.h"

/* A test of a driver puts a model of the hardware here. */
#ifndef REG32
#define REG32(address) (*(volatile uint32_t *)(address))
#endif

#define SYST_CSR REG32(0xE000E010)
#define SYST_RVR REG32(0xE000E014)
#define SYST_CVR REG32(0xE000E018)
#define NVIC_ISER(n) REG32(0xE000E100 + 4u * (n))
#define NVIC_ISPR(n) REG32(0xE000E200 + 4u * (n))
#define NVIC_ICER(n) REG32(0xE000E180 + 4u * (n))
#define NVIC_ICPR(n) REG32(0xE000E280 + 4u * (n))
#define SCB_ICSR REG32(0xE000ED04)
#define SCB_ICSR_PENDSTSET (1u << 26)
#define SCB_VTOR REG32(0xE000ED08)
#define SCB_AIRCR REG32(0xE000ED0C)
#define SCB_CCR REG32(0xE000ED14)
#define SCB_SHCSR REG32(0xE000ED24)
#define SCB_CFSR REG32(0xE000ED28)
#define SCB_HFSR REG32(0xE000ED2C)
#define SCB_MMFAR REG32(0xE000ED34)
#define SCB_BFAR REG32(0xE000ED38)
#define MPU_TYPE REG32(0xE000ED90)
#define MPU_CTRL REG32(0xE000ED94)
#define MPU_RBAR REG32(0xE000ED9C)
#define MPU_RASR REG32(0xE000EDA0)
#define SCB_CPACR REG32(0xE000ED88)
#define SCB_DEMCR REG32(0xE000EDFC)
#define DWT_CTRL REG32(0xE0001000)
#define DWT_CYCCNT REG32(0xE0001004)

static inline uint32_t irq_save(void) {
  uint32_t primask;
  __asm volatile("mrs %0, primask\n cpsid i" : "=r"(primask)::"memory");
  return primask;
}
static inline void irq_restore(uint32_t primask) { __asm volatile("msr primask, %0" ::"r"(primask) : "memory"); }

/* Symbols of link.ld. */
extern uint32_t _stack_bottom[], _stack_guard_end[], _stack_top[], _ram_end[], _heap_none[];

/* startup.c */
void Reset_Handler(void) __attribute__((noreturn));
typedef void (*vector_t)(void);

/* fault.c: _noinit survives every reset but the loss of power. hardware: what its register says of the last reset; a
 * record of the previous run knows better. */
void cortexm_fault_init(port_reset_reason_t hardware);
/* Ends this run by a record; frame: the registers that the exception has stacked. */
void cortexm_watchdog_bite(const uint32_t *frame) __attribute__((noreturn));

/* watchdog.c: two of them. The millisecond interrupt ends a run whose main loop stands still for 5 s, and knows where
 * it stood. The hardware's ends one in which even that interrupt is dead. */
void cortexm_watchdog_start(void);
/* To be called every millisecond, from an interrupt that passes its stacked frame. */
void cortexm_millisecond(const uint32_t *frame);
/* Its cortexm_unseen_ticks(). */
void cortexm_millisecond_measure(volatile uint32_t *pend, uint32_t bit);
extern volatile uint32_t cortexm_millis;
/* The family's: at least twice the 5 s. */
void cortexm_hardware_watchdog_start(void);
void cortexm_hardware_watchdog_feed(void);

/* timing.c: free-running 32-bit counter found at start: DWT if it counts, else `timer` if it counts, else SysTick.
 * Hz of each on real hardware. */
void cortexm_timing_init(uint32_t core_hz, volatile uint32_t *timer, const char *timer_name, uint32_t timer_hz);
/* The millisecond by SysTick, which counts the core clock; before cortexm_timing_init(). */
void cortexm_systick_start(uint32_t core_hz);
extern volatile uint32_t *cortexm_counter; /* NULL: SysTick */
/* Where `timer` has to be told to show its count: the register to write 1 to (kept only if `timer` is used), or NULL. */
extern volatile uint32_t *cortexm_capture;
uint32_t cortexm_systick_ticks(void);
static inline uint32_t cortexm_ticks(void) {
  if (cortexm_capture) *cortexm_capture = 1;
  return cortexm_counter ? *cortexm_counter : cortexm_systick_ticks();
}
extern volatile uint32_t cortexm_interrupt_ticks;
/* What a handler takes before its first and after its last look at the ticks: entrance, exit, and the instructions there.
 * Measured at the start, before the main loop: ``pend`` gets ``bit``, which has to bring the interrupt at once; 0 where
 * SysTick is the timer, which can't be asked for out of its turn. The handler adds it to cortexm_interrupt_ticks. */
uint32_t cortexm_unseen_ticks(volatile uint32_t *pend, uint32_t bit);

#endif
