/* What the STM32 series have in common; where they differ, stm32f4.h or stm32l4.h (KWS_STM32_SERIES: 4 or 104). */
#ifndef KWS_STM32_H
#define KWS_STM32_H

#include "cortexm.h"

#define STM32_F4 4
#define STM32_L4 104
#ifndef KWS_STM32_SERIES
#define KWS_STM32_SERIES STM32_F4
#endif
#if KWS_STM32_SERIES == STM32_F4
#include "stm32f4.h"
#elif KWS_STM32_SERIES == STM32_L4
#include "stm32l4.h"
#else
#error "KWS_STM32_SERIES is none of those that this port knows"
#endif

#define GPIO_MODER(port) REG32(GPIO_BASE(port) + 0x00)
#define GPIO_OSPEEDR(port) REG32(GPIO_BASE(port) + 0x08)
#define GPIO_PUPDR(port) REG32(GPIO_BASE(port) + 0x0C)
#define GPIO_BSRR(port) REG32(GPIO_BASE(port) + 0x18)
#define GPIO_AFR(port, pin) REG32(GPIO_BASE(port) + 0x20 + 4u * ((pin) >> 3))

#define IWDG_KR REG32(0x40003000u)
#define IWDG_PR REG32(0x40003004u)
#define IWDG_RLR REG32(0x40003008u)
#define DBGMCU_APB1_FZ REG32(0xE0042008u)

#define TIM2_CR1 REG32(0x40000000u)
#define TIM2_EGR REG32(0x40000014u)
#define TIM2_CNT_ADDRESS 0x40000024u
#define TIM2_PSC REG32(0x40000028u)
#define TIM2_ARR REG32(0x4000002Cu)

#define USART_SR_RXNE (1u << 5)
#define USART_SR_TXE (1u << 7)
#define USART_SR_ORE (1u << 3)
#define USART_SR_ERRORS 7u /* parity, framing, noise */
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_RXNEIE (1u << 5)

#define NVIC_IPR(n) REG32(0xE000E400 + 4u * (n)) /* DDI 0403 B3.4.9: a byte an interrupt, 0 comes first */

/* clock_f4.c, clock_l4.c */
typedef struct {
  uint32_t core_hz, apb1_hz, apb2_hz, apb1_timer_hz;
} stm32_clocks_t;
void stm32_clock_init(stm32_clocks_t *out);
/* Polls until (*reg & mask) == value, but no longer than any oscillator or regulator may take; 0 if it did not come. */
int stm32_wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value);

/* serial.c */
void stm32_serial_init(const stm32_clocks_t *clocks);
int stm32_serial_waits(void);

/* audio.c */
int stm32_audio_waits(void);

#endif
