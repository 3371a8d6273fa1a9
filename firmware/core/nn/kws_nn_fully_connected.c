#include "kws_nn.h"
#include "kws_nn_dot.h"
#include "kws_nn_math.h"

void kws_nn_fully_connected(const kws_nn_fully_connected_t *p, const int8_t *in, int8_t *out) {
  for (int32_t b = 0; b < p->batches; b++, in += p->in_c) {
    const int8_t *w = p->weights;
    for (int32_t oc = 0; oc < p->out_c; oc++, w += p->in_c) {
      int32_t acc = kws_nn_dot(in, w, p->in_c, p->in_zero_point);
      if (p->bias) acc += p->bias[oc];
      *out++ = kws_nn_output(acc, p->multiplier[oc], p->shift[oc], p->out_zero_point, p->act_min, p->act_max);
    }
  }
}
