#include "kws_nn.h"
#include "kws_nn_math.h"

void kws_nn_mean(const kws_nn_mean_t *p, const int8_t *in, int8_t *out) {
  const int32_t offset = p->in_zero_point * p->reduce_n[0] * p->reduce_n[1];
  for (int32_t i = 0; i < p->keep_n[0]; i++) {
    for (int32_t j = 0; j < p->keep_n[1]; j++) {
      const int8_t *first = in + i * p->keep_stride[0] + j * p->keep_stride[1];
      int32_t acc = -offset;
      for (int32_t k = 0; k < p->reduce_n[0]; k++) {
        for (int32_t l = 0; l < p->reduce_n[1]; l++) acc += first[k * p->reduce_stride[0] + l * p->reduce_stride[1]];
      }
      *out++ = kws_nn_output(acc, p->multiplier, p->shift, p->out_zero_point, INT8_MIN, INT8_MAX);
    }
  }
}
