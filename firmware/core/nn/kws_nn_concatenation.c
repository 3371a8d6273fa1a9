#include <string.h>

#include "kws_nn.h"

void kws_nn_concatenation(const kws_nn_parts_t *p, const void *const *in, void *out) {
  uint8_t *to = out;
  for (int32_t i = 0; i < p->outer; i++) {
    for (int32_t k = 0; k < p->count; k++) {
      memcpy(to, (const uint8_t *)in[k] + i * p->bytes[k], (size_t)p->bytes[k]);
      to += p->bytes[k];
    }
  }
}
