#include "kws_nn_binary.h"

static int8_t difference(const void *p, int32_t a, int32_t b) { return kws_nn_sum(p, a, b, -1); }

void kws_nn_sub(const kws_nn_add_t *p, const int8_t *in1, const int8_t *in2, int8_t *out) {
  kws_nn_binary(difference, p, p->dims, p->stride1, p->stride2, in1, in2, out);
}
