/* Registers of the STM32F4 as a model in C: every access of a driver comes through sim_reg(). Included before all else. */
#ifndef STM32_SIM_H
#define STM32_SIM_H

#include <stdint.h>

volatile uint32_t *sim_reg(uint32_t address);
#define REG32(address) (*sim_reg((uint32_t)(address)))

/* The Discovery's. */
#define KWS_CORE_HZ 168000000u
#define KWS_PDM_CLK_PORT 1
#define KWS_PDM_CLK_PIN 10
#define KWS_PDM_DIN_PORT 2
#define KWS_PDM_DIN_PIN 3
#define KWS_MICROPHONE_GAIN_Q12 16306

#endif
