#include "kws_nn.h"
#include "kws_nn_math.h"

void kws_nn_clamp(const kws_nn_clamp_t *p, const int8_t *in, int8_t *out) {
  for (int32_t i = 0; i < p->size; i++) out[i] = kws_nn_limit(in[i], p->act_min, p->act_max);
}
