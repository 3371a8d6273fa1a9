/* STM32F4 registers used here (ST RM0090, rev. 19: 2.3 memory map, 7.3 RCC, 8.4 GPIO, 30.6 USART; STM32F446: RM0390). */
#ifndef KWS_STM32F4_H
#define KWS_STM32F4_H

#define RCC_BASE 0x40023800u
#define RCC_CR REG32(RCC_BASE + 0x00)
#define RCC_PLLCFGR REG32(RCC_BASE + 0x04)
#define RCC_CFGR REG32(RCC_BASE + 0x08)
#define RCC_GPIOENR REG32(RCC_BASE + 0x30) /* AHB1ENR */
#define RCC_APB1ENR REG32(RCC_BASE + 0x40) /* bit 0: TIM2 */
#define RCC_APB2ENR REG32(RCC_BASE + 0x44)
#define RCC_CSR REG32(RCC_BASE + 0x74)
#define RCC_CSR_RMVF (1u << 24)
#define FLASH_ACR REG32(0x40023C00u)
#define PWR_CR REG32(0x40007000u)
#define PWR_CSR REG32(0x40007004u)

#define GPIO_BASE(port) (0x40020000u + 0x400u * (port)) /* 0: A */

/* By KWS_UART_BUS: 0 APB1, 1 APB2. */
#define RCC_UARTENR(bus) (*((bus) ? &RCC_APB2ENR : &RCC_APB1ENR))

#define USART_SR(base) REG32((base) + 0x00)
#define USART_READ(base) REG32((base) + 0x04)
#define USART_WRITE(base) REG32((base) + 0x04)
#define USART_BRR(base) REG32((base) + 0x08)
#define USART_CR1(base) REG32((base) + 0x0C)
#define USART_CR1_UE (1u << 13)
/* Reading SR, then DR has cleared them. */
#define USART_CLEAR_ERRORS(base) ((void)0)

#define STM32_DEVICE_VECTORS 97 /* of the STM32F446, which has the most (RM0390 table 38) */

#endif
