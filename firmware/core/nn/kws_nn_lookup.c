#include "kws_nn.h"

void kws_nn_lookup(const kws_nn_lookup_t *p, const void *in, void *out) {
  const uint8_t *from = in;
  uint8_t *to = out;
  for (int32_t i = 0; i < p->size; i++) to[i] = p->table[from[i]];
}
