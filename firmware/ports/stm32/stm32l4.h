/* STM32L4 and L4+ registers used here (ST RM0432, rev. 9: 2.2 memory map, 5.4 PWR, 6.4 RCC, 8.4 GPIO, 51.8 USART,
 * 52.7 LPUART). */
#ifndef KWS_STM32L4_H
#define KWS_STM32L4_H

#define RCC_BASE 0x40021000u
#define RCC_CR REG32(RCC_BASE + 0x00)
#define RCC_CFGR REG32(RCC_BASE + 0x08)
#define RCC_PLLCFGR REG32(RCC_BASE + 0x0C)
#define RCC_GPIOENR REG32(RCC_BASE + 0x4C) /* AHB2ENR */
#define RCC_APB1ENR REG32(RCC_BASE + 0x58) /* APB1ENR1; bit 0: TIM2 */
#define RCC_APB1ENR2 REG32(RCC_BASE + 0x5C)
#define RCC_APB2ENR REG32(RCC_BASE + 0x60)
#define RCC_CSR REG32(RCC_BASE + 0x94)
#define RCC_CSR_RMVF (1u << 23)
#define FLASH_ACR REG32(0x40022000u)
#define PWR_CR1 REG32(0x40007000u)
#define PWR_CR2 REG32(0x40007004u)
#define PWR_SR2 REG32(0x40007014u)
#define PWR_CR5 REG32(0x40007080u)

#define GPIO_BASE(port) (0x48000000u + 0x400u * (port)) /* 0: A */

/* By KWS_UART_BUS: 0 APB1, 1 APB2, 2 APB1's second register (LPUART1). */
#define RCC_UARTENR(bus) (*((bus) == 1 ? &RCC_APB2ENR : (bus) == 2 ? &RCC_APB1ENR2 : &RCC_APB1ENR))

#define USART_SR(base) REG32((base) + 0x1C) /* ISR */
#define USART_READ(base) REG32((base) + 0x24)
#define USART_WRITE(base) REG32((base) + 0x28)
#define USART_BRR(base) REG32((base) + 0x0C)
#define USART_PRESC(base) REG32((base) + 0x2C)
#define USART_PRESC_8 4u
#define USART_BRR_MOST 0xFFFFFu /* an LPUART's; a USART's half never needs as much */
#define USART_CR1(base) REG32((base) + 0x00)
#define USART_CR1_UE (1u << 0)
/* ICR: parity, framing, noise, overrun. */
#define USART_CLEAR_ERRORS(base) ((void)(REG32((base) + 0x20) = 0xFu))

#define STM32_DEVICE_VECTORS 95 /* RM0432 table 77 */

#endif
