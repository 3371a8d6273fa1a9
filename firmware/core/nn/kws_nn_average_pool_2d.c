#include "kws_nn.h"
#include "kws_nn_math.h"

/* The mean of the part of the window that lies inside the input, halves away from zero. */
static int32_t window_mean(const kws_nn_pool_t *p, const int8_t *in, int32_t y0, int32_t x0) {
  int32_t acc = 0, count = 0;
  for (int32_t y = y0 < 0 ? 0 : y0; y < y0 + p->k_h && y < p->in_h; y++) {
    for (int32_t x = x0 < 0 ? 0 : x0; x < x0 + p->k_w && x < p->in_w; x++, count++) {
      acc += in[(y * p->in_w + x) * p->channels];
    }
  }
  return (acc > 0 ? acc + count / 2 : acc - count / 2) / count;
}

void kws_nn_average_pool_2d(const kws_nn_pool_t *p, const int8_t *in, int8_t *out) {
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_w * p->channels) {
    for (int32_t oy = 0; oy < p->out_h; oy++) {
      for (int32_t ox = 0; ox < p->out_w; ox++) {
        for (int32_t c = 0; c < p->channels; c++) {
          const int32_t mean = window_mean(p, in + c, oy * p->stride_h - p->pad_h, ox * p->stride_w - p->pad_w);
          *out++ = kws_nn_limit(mean, p->act_min, p->act_max);
        }
      }
    }
  }
}
