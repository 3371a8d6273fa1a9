#include <string.h>

#include "kws_nn.h"

static uint8_t *copy_line(uint8_t *to, const uint8_t *from, int32_t count, int32_t step, int32_t run) {
  if (run == 1) {
    for (int32_t i = 0; i < count; i++, from += step) *to++ = *from;
    return to;
  }
  for (int32_t i = 0; i < count; i++, to += run) memcpy(to, from + i * step, (size_t)run);
  return to;
}

void kws_nn_strided_copy(const kws_nn_strided_copy_t *p, const void *in, void *out) {
  const int32_t *n = p->count, *s = p->step;
  const uint8_t *from = (const uint8_t *)in + p->start;
  uint8_t *to = out;
  for (int32_t i = 0; i < n[0]; i++) {
    for (int32_t j = 0; j < n[1]; j++) {
      for (int32_t k = 0; k < n[2]; k++) {
        for (int32_t l = 0; l < n[3]; l++) {
          to = copy_line(to, from + i * s[0] + j * s[1] + k * s[2] + l * s[3], n[4], s[4], p->run);
        }
      }
    }
  }
}
