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

/* Microphone: 7.3.1, 7.3.3, 7.3.10, 7.3.24 */
#define RCC_DMAENR RCC_GPIOENR
#define RCC_DMA1EN (1u << 21)
#define RCC_SPI2EN (1u << 14) /* of APB1ENR */
#define RCC_PLLI2SCFGR REG32(RCC_BASE + 0x84)
#define RCC_CR_PLLI2SON (1u << 26)
#define RCC_CR_PLLI2SRDY (1u << 27)
#define RCC_CFGR_I2SSRC (1u << 23)

/* 28.5.2 to 28.5.9 */
#define SPI2_CR2 REG32(0x40003804u)
#define SPI_CR2_RXDMAEN (1u << 0)
#define SPI2_SR REG32(0x40003808u)
#define SPI_SR_OVR (1u << 6)
#define SPI2_DR_ADDRESS 0x4000380Cu
#define SPI2_DR REG32(SPI2_DR_ADDRESS)
#define SPI2_I2SCFGR REG32(0x4000381Cu)
#define I2SCFGR_I2SMOD (1u << 11)
#define I2SCFGR_I2SE (1u << 10)
#define I2SCFGR_MASTER_RECEIVE (3u << 8)
#define I2SCFGR_MSB_JUSTIFIED (1u << 4)
#define I2SCFGR_CKPOL (1u << 3)
#define SPI2_I2SPR REG32(0x40003820u)

/* DMA1 stream 3, whose channel 0 is SPI2's reception: 10.3.3, 10.5 */
#define DMA_LISR REG32(0x40026000u)
#define DMA_LIFCR REG32(0x40026008u)
#define DMA_FLAGS_AT 22u /* of stream 3 in both */
#define DMA_CR REG32(0x40026058u)
#define DMA_NDTR REG32(0x4002605Cu)
#define DMA_PAR REG32(0x40026060u)
#define DMA_M0AR REG32(0x40026064u)
#define DMA_M1AR REG32(0x40026068u)
#define DMA_FCR REG32(0x4002606Cu)
#define DMA_CR_EN (1u << 0)
#define DMA_CR_TEIE (1u << 2)
#define DMA_CR_TCIE (1u << 4)
#define DMA_CR_CIRC (1u << 8)
#define DMA_CR_MINC (1u << 10)
#define DMA_CR_PERIPHERAL_16 (1u << 11)
#define DMA_CR_MEMORY_16 (1u << 13)
#define DMA_CR_PRIORITY_HIGH (2u << 16)
#define DMA_CR_DBM (1u << 18)
#define DMA_CR_CT (1u << 19)
#define DMA_CR_CHANNEL0 (0u << 25)
#define DMA1_STREAM3_IRQ 14u

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
