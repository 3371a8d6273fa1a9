/* ADD, SUB and MUL: one operation on each pair of elements, with the strides of a broadcast. */
#ifndef KWS_NN_BINARY_H
#define KWS_NN_BINARY_H

#include "kws_nn.h"
#include "kws_nn_math.h"

/* An element of each operand; `p` are the operator's parameters. */
typedef int8_t kws_nn_binary_t(const void *p, int32_t a, int32_t b);

static inline void kws_nn_binary(kws_nn_binary_t *operation, const void *p, const int32_t d[4], const int32_t s[4],
                                 const int32_t t[4], const int8_t *in1, const int8_t *in2, int8_t *out) {
  for (int32_t i = 0; i < d[0]; i++) {
    for (int32_t j = 0; j < d[1]; j++) {
      for (int32_t k = 0; k < d[2]; k++) {
        const int8_t *a = in1 + i * s[0] + j * s[1] + k * s[2];
        const int8_t *b = in2 + i * t[0] + j * t[1] + k * t[2];
        for (int32_t l = 0; l < d[3]; l++) *out++ = operation(p, a[l * s[3]], b[l * t[3]]);
      }
    }
  }
}

/* a + sign * b, both brought to a common scale with 20 more bits (TensorFlow Lite's choice for int8). */
static inline int8_t kws_nn_sum(const kws_nn_add_t *p, int32_t a, int32_t b, int32_t sign) {
  const int32_t a_scaled = kws_nn_requantize((a - p->zero_point1) * (1 << 20), p->multiplier1, p->shift1);
  const int32_t b_scaled = kws_nn_requantize((b - p->zero_point2) * (1 << 20), p->multiplier2, p->shift2);
  return kws_nn_output(a_scaled + sign * b_scaled, p->out_multiplier, p->out_shift, p->out_zero_point, p->act_min,
                       p->act_max);
}

#endif
