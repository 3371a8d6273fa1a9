/* nRF52840 registers used here (Nordic nRF52840 Product Specification v1.7; the chapters are named below). */
#ifndef KWS_NRF52_H
#define KWS_NRF52_H

#include "cortexm.h"

/* CLOCK 5.4.4, POWER 5.3.7 (one base) */
#define CLOCK_HFCLKSTART REG32(0x40000000u)
#define CLOCK_HFCLKSTARTED REG32(0x40000100u)
#define POWER_RESETREAS REG32(0x40000400u)
#define RESETREAS_PIN (1u << 0)
#define RESETREAS_DOG (1u << 1)
#define RESETREAS_SOFT (1u << 2)
#define RESETREAS_LOCKUP (1u << 3)

/* GPIO 6.9.2; a pin is port * 32 + number */
#define GPIO_BASE(pin) (0x50000000u + 0x300u * ((pin) >> 5))
#define GPIO_OUTSET(pin) REG32(GPIO_BASE(pin) + 0x508)
#define GPIO_OUTCLR(pin) REG32(GPIO_BASE(pin) + 0x50C)
#define GPIO_CNF(pin) REG32(GPIO_BASE(pin) + 0x700 + 4u * ((pin) & 31u))
#define GPIO_MASK(pin) (1u << ((pin) & 31u))
#define GPIO_CNF_OUTPUT 3u        /* output, input buffer off */
#define GPIO_CNF_INPUT 0u         /* input buffer on, no pull */
#define GPIO_CNF_INPUT_PULLUP 12u /* the same, pulled up: an open line is idle */

/* UARTE 6.34.9 */
#define UARTE0_BASE 0x40002000u
#define UARTE_STARTRX REG32(UARTE0_BASE + 0x000)
#define UARTE_STARTTX REG32(UARTE0_BASE + 0x008)
#define UARTE_EV_ENDRX REG32(UARTE0_BASE + 0x110)
#define UARTE_EV_ENDTX REG32(UARTE0_BASE + 0x120)
#define UARTE_EV_ERROR REG32(UARTE0_BASE + 0x124)
#define UARTE_INTENSET REG32(UARTE0_BASE + 0x304)
#define UARTE_INT_ENDRX (1u << 4)
#define UARTE_INT_ERROR (1u << 9)
#define UARTE_ERRORSRC REG32(UARTE0_BASE + 0x480)
#define UARTE_ENABLE REG32(UARTE0_BASE + 0x500)
#define UARTE_PSEL_RTS REG32(UARTE0_BASE + 0x508)
#define UARTE_PSEL_TXD REG32(UARTE0_BASE + 0x50C)
#define UARTE_PSEL_CTS REG32(UARTE0_BASE + 0x510)
#define UARTE_PSEL_RXD REG32(UARTE0_BASE + 0x514)
#define UARTE_BAUDRATE REG32(UARTE0_BASE + 0x524)
#define UARTE_RXD_PTR REG32(UARTE0_BASE + 0x534)
#define UARTE_RXD_MAXCNT REG32(UARTE0_BASE + 0x538)
#define UARTE_TXD_PTR REG32(UARTE0_BASE + 0x544)
#define UARTE_TXD_MAXCNT REG32(UARTE0_BASE + 0x548)
#define UARTE_CONFIG REG32(UARTE0_BASE + 0x56C)
#define UARTE0_IRQ 2u
#define PSEL_NONE 0xFFFFFFFFu

/* TIMER 6.30.5: TIMER0 is the free-running counter, TIMER1 the millisecond */
#define TIMER_BASE(n) (0x40008000u + 0x1000u * (n))
#define TIMER_START(n) REG32(TIMER_BASE(n) + 0x000)
#define TIMER_CLEAR(n) REG32(TIMER_BASE(n) + 0x00C)
#define TIMER_CAPTURE0_ADDRESS(n) (TIMER_BASE(n) + 0x040)
#define TIMER_EV_COMPARE0(n) REG32(TIMER_BASE(n) + 0x140)
#define TIMER_INTENSET(n) REG32(TIMER_BASE(n) + 0x304)
#define TIMER_MODE(n) REG32(TIMER_BASE(n) + 0x504)
#define TIMER_BITMODE(n) REG32(TIMER_BASE(n) + 0x508)
#define TIMER_PRESCALER(n) REG32(TIMER_BASE(n) + 0x510)
#define TIMER_CC0(n) REG32(TIMER_BASE(n) + 0x540)
#define TIMER_CAPTURE1(n) REG32(TIMER_BASE(n) + 0x044)
#define TIMER_CC1(n) REG32(TIMER_BASE(n) + 0x544)
#define TIMER_CC0_ADDRESS(n) (TIMER_BASE(n) + 0x540)
#define TIMER1_IRQ 9u

/* WDT 6.36.4 */
#define WDT_START REG32(0x40010000u)
#define WDT_CRV REG32(0x40010504u)
#define WDT_RREN REG32(0x40010508u)
#define WDT_CONFIG REG32(0x4001050Cu)
#define WDT_RR0 REG32(0x40010600u)
#define WDT_RELOAD 0x6E524635u

/* PDM 6.15.7 */
#define PDM_START REG32(0x4001D000u)
#define PDM_STOP REG32(0x4001D004u)
#define PDM_EV_STARTED REG32(0x4001D100u)
#define PDM_EV_STOPPED REG32(0x4001D104u)
#define PDM_EV_END REG32(0x4001D108u)
#define PDM_INTENSET REG32(0x4001D304u)
#define PDM_INTENCLR REG32(0x4001D308u)
#define PDM_INT_STARTED (1u << 0)
#define PDM_INT_END (1u << 2)
#define PDM_ENABLE REG32(0x4001D500u)
#define PDM_CLKCTRL REG32(0x4001D504u)
#define PDM_MODE REG32(0x4001D508u)
#define PDM_GAINL REG32(0x4001D518u)
#define PDM_GAINR REG32(0x4001D51Cu)
#define PDM_RATIO REG32(0x4001D520u)
#define PDM_PSEL_CLK REG32(0x4001D540u)
#define PDM_PSEL_DIN REG32(0x4001D544u)
#define PDM_SAMPLE_PTR REG32(0x4001D560u)
#define PDM_SAMPLE_MAXCNT REG32(0x4001D564u)
#define PDM_IRQ 29u

#define NRF52_CORE_HZ 64000000u

/* serial.c */
void nrf52_serial_init(void);
int nrf52_serial_waits(void);

/* audio.c */
int nrf52_audio_waits(void);

#endif
