#include "kws_nn.h"
#include "kws_nn_math.h"

/* As kws_nn_add.c. */
enum { HEADROOM = 20 };

static int8_t difference(const kws_nn_add_t *p, int32_t a, int32_t b) {
  const int32_t a_scaled = kws_nn_requantize((a - p->zero_point1) * (1 << HEADROOM), p->multiplier1, p->shift1);
  const int32_t b_scaled = kws_nn_requantize((b - p->zero_point2) * (1 << HEADROOM), p->multiplier2, p->shift2);
  return kws_nn_output(a_scaled - b_scaled, p->out_multiplier, p->out_shift, p->out_zero_point, p->act_min,
                       p->act_max);
}

void kws_nn_sub(const kws_nn_add_t *p, const int8_t *in1, const int8_t *in2, int8_t *out) {
  const int32_t *d = p->dims, *s = p->stride1, *t = p->stride2;
  for (int32_t i = 0; i < d[0]; i++) {
    for (int32_t j = 0; j < d[1]; j++) {
      for (int32_t k = 0; k < d[2]; k++) {
        const int8_t *a = in1 + i * s[0] + j * s[1] + k * s[2];
        const int8_t *b = in2 + i * t[0] + j * t[1] + k * t[2];
        for (int32_t l = 0; l < d[3]; l++) *out++ = difference(p, a[l * s[3]], b[l * t[3]]);
      }
    }
  }
}
