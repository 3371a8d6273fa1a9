/* Registers as cells, whatever the board; included before all else. */
#ifndef STM32_SIM_BAUD_H
#define STM32_SIM_BAUD_H

#include <stdint.h>

volatile uint32_t *sim_reg(uint32_t address);
#define REG32(address) (*sim_reg((uint32_t)(address)))

#endif
