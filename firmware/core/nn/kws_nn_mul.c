#include "kws_nn_binary.h"

static int8_t product(const void *params, int32_t a, int32_t b) {
  const kws_nn_mul_t *p = params;
  return kws_nn_output((a - p->zero_point1) * (b - p->zero_point2), p->multiplier, p->shift, p->out_zero_point,
                       p->act_min, p->act_max);
}

void kws_nn_mul(const kws_nn_mul_t *p, const int8_t *in1, const int8_t *in2, int8_t *out) {
  kws_nn_binary(product, p, p->dims, p->stride1, p->stride2, in1, in2, out);
}
