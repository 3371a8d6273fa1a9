/* ESP-IDF's I2S driver in standard mode (5.0 and later), with its types, macros and signatures, as far as they are used. */
#ifndef I2S_STD_STUB_H
#define I2S_STD_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"

typedef enum {
  GPIO_NUM_NC = -1,
  GPIO_NUM_0,
  GPIO_NUM_1,
  GPIO_NUM_2,
  GPIO_NUM_3,
  GPIO_NUM_4,
  GPIO_NUM_5,
  GPIO_NUM_6
} gpio_num_t;
#define I2S_GPIO_UNUSED GPIO_NUM_NC

typedef enum { I2S_NUM_0, I2S_NUM_1, I2S_NUM_AUTO } i2s_port_t;
typedef enum { I2S_ROLE_MASTER, I2S_ROLE_SLAVE } i2s_role_t;
typedef enum { I2S_DATA_BIT_WIDTH_16BIT = 16, I2S_DATA_BIT_WIDTH_32BIT = 32 } i2s_data_bit_width_t;
typedef enum { I2S_SLOT_MODE_MONO = 1, I2S_SLOT_MODE_STEREO = 2 } i2s_slot_mode_t;
typedef struct i2s_channel_obj_t *i2s_chan_handle_t;

typedef struct {
  i2s_port_t id;
  i2s_role_t role;
  uint32_t dma_desc_num, dma_frame_num;
  bool auto_clear;
} i2s_chan_config_t;
#define I2S_CHANNEL_DEFAULT_CONFIG(i2s_num, i2s_role) \
  {.id = i2s_num, .role = i2s_role, .dma_desc_num = 6, .dma_frame_num = 240, .auto_clear = false}

typedef struct {
  uint32_t sample_rate_hz;
} i2s_std_clk_config_t;
#define I2S_STD_CLK_DEFAULT_CONFIG(rate) {.sample_rate_hz = rate}

typedef struct {
  i2s_data_bit_width_t data_bit_width;
  i2s_slot_mode_t slot_mode;
} i2s_std_slot_config_t;
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits_per_sample, mono_or_stereo) \
  {.data_bit_width = bits_per_sample, .slot_mode = mono_or_stereo}

typedef struct {
  gpio_num_t mclk, bclk, ws, dout, din;
  struct {
    uint32_t mclk_inv : 1, bclk_inv : 1, ws_inv : 1;
  } invert_flags;
} i2s_std_gpio_config_t;

typedef struct {
  i2s_std_clk_config_t clk_cfg;
  i2s_std_slot_config_t slot_cfg;
  i2s_std_gpio_config_t gpio_cfg;
} i2s_std_config_t;

esp_err_t i2s_new_channel(const i2s_chan_config_t *chan_cfg, i2s_chan_handle_t *ret_tx_handle,
                          i2s_chan_handle_t *ret_rx_handle);
esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t handle, const i2s_std_config_t *std_cfg);
esp_err_t i2s_channel_enable(i2s_chan_handle_t handle);
esp_err_t i2s_channel_read(i2s_chan_handle_t handle, void *dest, size_t size, size_t *bytes_read, uint32_t timeout_ms);

#endif
