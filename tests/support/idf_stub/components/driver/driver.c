/* The microphone hears raw 16-bit samples from standard input, in the upper half of 32-bit slots; at their end the program
 * ends. A channel that is read before it is set up and enabled is refused, as by IDF. */
#include <stdio.h>

#include "driver/i2s_std.h"

struct i2s_channel_obj_t {
  int state; /* 1: new, 2: set up, 3: enabled */
};
static struct i2s_channel_obj_t channel;

esp_err_t i2s_new_channel(const i2s_chan_config_t *chan_cfg, i2s_chan_handle_t *ret_tx_handle,
                          i2s_chan_handle_t *ret_rx_handle) {
  if (!chan_cfg || (!ret_tx_handle && !ret_rx_handle) || chan_cfg->dma_frame_num == 0) return ESP_ERR_INVALID_ARG;
  if (ret_tx_handle || chan_cfg->role != I2S_ROLE_MASTER) return ESP_FAIL; /* nobody here sends */
  channel.state = 1;
  *ret_rx_handle = &channel;
  return ESP_OK;
}

esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t handle, const i2s_std_config_t *std_cfg) {
  if (!handle || handle->state != 1) return ESP_ERR_INVALID_STATE;
  const i2s_std_gpio_config_t *pins = &std_cfg->gpio_cfg;
  if (pins->bclk < 0 || pins->ws < 0 || pins->din < 0 || pins->bclk == pins->ws || pins->ws == pins->din)
    return ESP_FAIL;
  if (std_cfg->clk_cfg.sample_rate_hz != 16000 || std_cfg->slot_cfg.data_bit_width != I2S_DATA_BIT_WIDTH_32BIT) {
    return ESP_FAIL;
  }
  handle->state = 2;
  return ESP_OK;
}

esp_err_t i2s_channel_enable(i2s_chan_handle_t handle) {
  if (!handle || handle->state != 2) return ESP_ERR_INVALID_STATE;
  handle->state = 3;
  return ESP_OK;
}

esp_err_t i2s_channel_read(i2s_chan_handle_t handle, void *dest, size_t size, size_t *bytes_read, uint32_t timeout_ms) {
  if (!handle || handle->state != 3 || timeout_ms == 0) return ESP_ERR_INVALID_STATE;
  int32_t *slots = dest;
  size_t n = 0;
  int16_t sample;
  while (n < size / sizeof *slots && fread(&sample, sizeof sample, 1, stdin) == 1) slots[n++] = (int32_t)sample * 65536;
  if (n == 0) exit(0);
  *bytes_read = n * sizeof *slots;
  return ESP_OK;
}
