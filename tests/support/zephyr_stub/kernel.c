/* The microphone hears raw 16-bit samples from standard input; at their end the program ends. It refuses what Zephyr's
 * drivers refuse: a clock or a stream that is not set, a block that nobody gave back. */
#include <stdio.h>
#include <stdlib.h>
#include <zephyr/audio/dmic.h>

const struct device device_dmic_dev = {"dmic_dev"};
static struct pcm_stream_cfg stream;
static bool started;

bool device_is_ready(const struct device *dev) { return dev == &device_dmic_dev; }

int dmic_configure(const struct device *dev, struct dmic_cfg *cfg) {
  const struct pdm_chan_cfg *c = &cfg->channel;
  if (!device_is_ready(dev) || c->req_num_streams != 1 || c->req_num_chan != 1 || c->req_chan_map_hi != 0) return -22;
  if (c->req_chan_map_lo != dmic_build_channel_map(0, 0, PDM_CHAN_LEFT)) return -22;
  if (cfg->io.min_pdm_clk_freq == 0 || cfg->io.max_pdm_clk_freq < cfg->io.min_pdm_clk_freq) return -22;
  if (cfg->io.max_pdm_clk_dc < cfg->io.min_pdm_clk_dc || cfg->io.max_pdm_clk_dc == 0) return -22;
  stream = *cfg->streams;
  if (stream.pcm_rate != 16000 || stream.pcm_width != 16 || !stream.mem_slab) return -22;
  return stream.block_size == stream.mem_slab->block_size ? 0 : -22;
}

int dmic_trigger(const struct device *dev, enum dmic_trigger cmd) {
  if (!device_is_ready(dev) || !stream.mem_slab || cmd != DMIC_TRIGGER_START) return -5;
  started = true;
  return 0;
}

int dmic_read(const struct device *dev, uint8_t number, void **buffer, size_t *size, int32_t timeout) {
  if (!device_is_ready(dev) || !started || number != 0 || timeout == 0) return -5;
  if (stream.mem_slab->taken == stream.mem_slab->num_blocks) return -12; /* nobody gives them back */
  *buffer = stream.mem_slab->buffer;
  *size = fread(*buffer, 1, stream.block_size, stdin);
  if (*size == 0) exit(0);
  stream.mem_slab->taken++;
  return 0;
}

void k_mem_slab_free(struct k_mem_slab *slab, void *mem) {
  if (mem != slab->buffer || slab->taken == 0) abort();
  slab->taken--;
}
