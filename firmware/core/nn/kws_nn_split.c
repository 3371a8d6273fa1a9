#include <string.h>

#include "kws_nn.h"

void kws_nn_split(const kws_nn_parts_t *p, const void *in, void *const *out) {
  const uint8_t *from = in;
  for (int32_t i = 0; i < p->outer; i++) {
    for (int32_t k = 0; k < p->count; k++) {
      memcpy((uint8_t *)out[k] + i * p->bytes[k], from, (size_t)p->bytes[k]);
      from += p->bytes[k];
    }
  }
}
