#include "kws_nn.h"
#include "kws_nn_dot.h"
#include "kws_nn_math.h"

/* The sum over the part of the window at (y0, x0) that lies inside the input. */
static int32_t window_sum(const kws_nn_conv_t *p, const int8_t *in, const int8_t *weights, int32_t y0, int32_t x0,
                          int32_t depth) {
  int32_t acc = 0;
  /* Taps of a row that touch each other in memory are one inner product. */
  const int dense = p->dilation_w == 1 && p->groups == 1;
  const int32_t first = x0 < 0 ? -x0 : 0;
  const int32_t end = p->k_w < p->in_w - x0 ? p->k_w : p->in_w - x0;
  for (int32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = y0 + ky * p->dilation_h;
    if (y < 0 || y >= p->in_h) continue;
    const int8_t *row = in + y * p->in_w * p->in_c;
    const int8_t *w = weights + ky * p->k_w * depth;
    if (dense) {
      acc += kws_nn_dot(row + (x0 + first) * depth, w + first * depth, (end - first) * depth, p->in_zero_point);
      continue;
    }
    for (int32_t kx = 0; kx < p->k_w; kx++) {
      const int32_t x = x0 + kx * p->dilation_w;
      if (x < 0 || x >= p->in_w) continue;
      acc += kws_nn_dot(row + x * p->in_c, w + kx * depth, depth, p->in_zero_point);
    }
  }
  return acc;
}

void kws_nn_conv_2d(const kws_nn_conv_t *p, const int8_t *in, int8_t *out) {
  const int32_t depth = p->in_c / p->groups;
  const int32_t filters = p->out_c / p->groups;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_w * p->in_c) {
    for (int32_t oy = 0; oy < p->out_h; oy++) {
      const int32_t y0 = oy * p->stride_h - p->pad_h;
      for (int32_t ox = 0; ox < p->out_w; ox++) {
        const int32_t x0 = ox * p->stride_w - p->pad_w;
        const int8_t *weights = p->weights;
        for (int32_t oc = 0; oc < p->out_c; oc++, weights += p->k_h * p->k_w * depth) {
          const int8_t *group = in + (oc / filters) * depth;
          int32_t acc = window_sum(p, group, weights, y0, x0, depth);
          if (p->bias) acc += p->bias[oc];
          *out++ = kws_nn_output(acc, p->multiplier[oc], p->shift[oc], p->out_zero_point, p->act_min, p->act_max);
        }
      }
    }
  }
}
