#include <string.h>

#include "kws_nn.h"

void kws_nn_dequantize(const kws_nn_dequantize_t *p, const void *in, void *out) {
  float scale;
  memcpy(&scale, &p->scale_bits, 4);
  for (int32_t i = 0; i < p->size; i++) {
    int32_t value;
    if (p->in_bytes == 2) {
      int16_t wide;
      memcpy(&wide, (const uint8_t *)in + 2 * i, 2);
      value = wide;
    } else {
      const uint8_t byte = ((const uint8_t *)in)[i];
      value = p->is_signed ? (int8_t)byte : byte;
    }
    /* The reference multiplies in double and rounds once; both factors are exact, so this rounds once too. */
    const float real = scale * (float)(value - p->zero_point);
    memcpy((uint8_t *)out + 4 * i, &real, 4);
  }
}
