/* Registers of the nRF52840 as a model in C: every access of a driver comes through sim_reg(). Included before all else. */
#ifndef NRF52_SIM_H
#define NRF52_SIM_H

#include <stdint.h>

volatile uint32_t *sim_reg(uint32_t address);
#define REG32(address) (*sim_reg((uint32_t)(address)))

#define KWS_SERIAL_BAUD 460800u
#define KWS_UART_TX_PIN 35u
#define KWS_UART_RX_PIN 42u
#define KWS_PDM_CLK_PIN 26u
#define KWS_PDM_DIN_PIN 25u
#define KWS_PDM_POWER_PIN 17u
#define KWS_MICROPHONE_GAIN_DB 12

#endif
