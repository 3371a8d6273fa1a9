#include <string.h>

#include "kws_nn.h"

static int8_t *fill(int8_t *out, int32_t value, int32_t n) {
  memset(out, value, (size_t)n);
  return out + n;
}

void kws_nn_pad(const kws_nn_pad_t *p, const int8_t *in, int8_t *out) {
  /* Elements of one step along each dimension of the output. */
  int32_t step[4] = {1, 1, 1, 1};
  for (int d = 2; d >= 0; d--) step[d] = step[d + 1] * (p->before[d + 1] + p->in_dims[d + 1] + p->after[d + 1]);
  out = fill(out, p->value, p->before[0] * step[0]);
  for (int32_t i = 0; i < p->in_dims[0]; i++) {
    out = fill(out, p->value, p->before[1] * step[1]);
    for (int32_t j = 0; j < p->in_dims[1]; j++) {
      out = fill(out, p->value, p->before[2] * step[2]);
      for (int32_t k = 0; k < p->in_dims[2]; k++) {
        out = fill(out, p->value, p->before[3]);
        memcpy(out, in, (size_t)p->in_dims[3]);
        out += p->in_dims[3];
        in += p->in_dims[3];
        out = fill(out, p->value, p->after[3]);
      }
      out = fill(out, p->value, p->after[2] * step[2]);
    }
    out = fill(out, p->value, p->after[1] * step[1]);
  }
  fill(out, p->value, p->after[0] * step[0]);
}
