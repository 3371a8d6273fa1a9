#include "kws_nn.h"
#include "kws_nn_math.h"

void kws_nn_rescale(const kws_nn_rescale_t *p, const int8_t *in, int8_t *out) {
  for (int32_t i = 0; i < p->size; i++) {
    out[i] = kws_nn_output(in[i] - p->in_zero_point, p->multiplier, p->shift, p->out_zero_point, p->act_min,
                           p->act_max);
  }
}
