/* STM32F4 registers used here (ST RM0090, rev. 19: 2.3 memory map, 7.3 RCC, 8.4 GPIO, 18.4 TIM2, 30.6 USART). */
#ifndef KWS_STM32_H
#define KWS_STM32_H

#include "cortexm.h"

#define RCC_BASE 0x40023800u
#define RCC_CR REG32(RCC_BASE + 0x00)
#define RCC_PLLCFGR REG32(RCC_BASE + 0x04)
#define RCC_CFGR REG32(RCC_BASE + 0x08)
#define RCC_AHB1ENR REG32(RCC_BASE + 0x30)
#define RCC_APB1ENR REG32(RCC_BASE + 0x40)
#define RCC_APB2ENR REG32(RCC_BASE + 0x44)
#define RCC_CSR REG32(RCC_BASE + 0x74)
#define FLASH_ACR REG32(0x40023C00u)
#define PWR_CR REG32(0x40007000u)

#define GPIO_BASE(port) (0x40020000u + 0x400u * (port)) /* 0: A */
#define GPIO_MODER(port) REG32(GPIO_BASE(port) + 0x00)
#define GPIO_OSPEEDR(port) REG32(GPIO_BASE(port) + 0x08)
#define GPIO_PUPDR(port) REG32(GPIO_BASE(port) + 0x0C)
#define GPIO_BSRR(port) REG32(GPIO_BASE(port) + 0x18)
#define GPIO_AFR(port, pin) REG32(GPIO_BASE(port) + 0x20 + 4u * ((pin) >> 3))

#define TIM2_CR1 REG32(0x40000000u)
#define TIM2_EGR REG32(0x40000014u)
#define TIM2_CNT_ADDRESS 0x40000024u
#define TIM2_PSC REG32(0x40000028u)
#define TIM2_ARR REG32(0x4000002Cu)

#define USART_SR(base) REG32((base) + 0x00)
#define USART_DR(base) REG32((base) + 0x04)
#define USART_BRR(base) REG32((base) + 0x08)
#define USART_CR1(base) REG32((base) + 0x0C)
#define USART_SR_RXNE (1u << 5)
#define USART_SR_TXE (1u << 7)
#define USART_SR_ORE (1u << 3)
#define USART_SR_ERRORS 7u /* parity, framing, noise */
#define USART_CR1_RE (1u << 2)
#define USART_CR1_TE (1u << 3)
#define USART_CR1_RXNEIE (1u << 5)
#define USART_CR1_UE (1u << 13)

/* clock.c */
typedef struct {
  uint32_t core_hz, apb1_hz, apb2_hz, apb1_timer_hz;
} stm32_clocks_t;
void stm32_clock_init(stm32_clocks_t *out);

/* serial.c */
void stm32_serial_init(const stm32_clocks_t *clocks);
int stm32_serial_waits(void);

#endif
