#include "kws_nn.h"
#include "kws_nn_math.h"

void kws_nn_mul(const kws_nn_mul_t *p, const int8_t *in1, const int8_t *in2, int8_t *out) {
  const int32_t *d = p->dims, *s = p->stride1, *t = p->stride2;
  for (int32_t i = 0; i < d[0]; i++) {
    for (int32_t j = 0; j < d[1]; j++) {
      for (int32_t k = 0; k < d[2]; k++) {
        const int8_t *a = in1 + i * s[0] + j * s[1] + k * s[2];
        const int8_t *b = in2 + i * t[0] + j * t[1] + k * t[2];
        for (int32_t l = 0; l < d[3]; l++) {
          const int32_t product = (a[l * s[3]] - p->zero_point1) * (b[l * t[3]] - p->zero_point2);
          *out++ = kws_nn_output(product, p->multiplier, p->shift, p->out_zero_point, p->act_min, p->act_max);
        }
      }
    }
  }
}
