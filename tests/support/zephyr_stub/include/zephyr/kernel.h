/* Of Zephyr's kernel.h and device.h what the sample uses, with their signatures (3.6 and later). */
#ifndef ZEPHYR_KERNEL_STUB_H
#define ZEPHYR_KERNEL_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device {
  const char *name;
};
extern const struct device device_dmic_dev;
#define DT_NODELABEL(label) device_##label
#define DEVICE_DT_GET(node_id) (&node_id)
bool device_is_ready(const struct device *dev);

struct k_mem_slab {
  char *buffer;
  size_t block_size;
  uint32_t num_blocks, taken;
};
#define K_MEM_SLAB_DEFINE_STATIC(name, slab_block_size, slab_num_blocks, slab_align)                         \
  static char __attribute__((aligned(slab_align))) name##_buffer[(slab_num_blocks) * (slab_block_size)];     \
  _Static_assert((slab_block_size) % (slab_align) == 0, "blocks of a slab are a multiple of its alignment"); \
  static struct k_mem_slab name = {name##_buffer, slab_block_size, slab_num_blocks, 0}
void k_mem_slab_free(struct k_mem_slab *slab, void *mem);

#endif
