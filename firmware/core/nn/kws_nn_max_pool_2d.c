#include "kws_nn.h"
#include "kws_nn_math.h"

static int32_t window_max(const kws_nn_pool_t *p, const int8_t *in, int32_t y0, int32_t x0) {
  int32_t best = INT8_MIN;
  for (int32_t y = y0 < 0 ? 0 : y0; y < y0 + p->k_h && y < p->in_h; y++) {
    for (int32_t x = x0 < 0 ? 0 : x0; x < x0 + p->k_w && x < p->in_w; x++) {
      const int32_t value = in[(y * p->in_w + x) * p->channels];
      if (value > best) best = value;
    }
  }
  return best;
}

void kws_nn_max_pool_2d(const kws_nn_pool_t *p, const int8_t *in, int8_t *out) {
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_w * p->channels) {
    for (int32_t oy = 0; oy < p->out_h; oy++) {
      for (int32_t ox = 0; ox < p->out_w; ox++) {
        for (int32_t c = 0; c < p->channels; c++) {
          const int32_t best = window_max(p, in + c, oy * p->stride_h - p->pad_h, ox * p->stride_w - p->pad_w);
          *out++ = kws_nn_limit(best, p->act_min, p->act_max);
        }
      }
    }
  }
}
