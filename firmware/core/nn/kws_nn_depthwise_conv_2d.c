#include "kws_nn.h"
#include "kws_nn_math.h"

static int32_t window_sum(const kws_nn_conv_t *p, const int8_t *in, const int8_t *weights, int32_t y0, int32_t x0) {
  int32_t acc = 0;
  for (int32_t ky = 0; ky < p->k_h; ky++) {
    const int32_t y = y0 + ky * p->dilation_h;
    if (y < 0 || y >= p->in_h) continue;
    for (int32_t kx = 0; kx < p->k_w; kx++) {
      const int32_t x = x0 + kx * p->dilation_w;
      if (x < 0 || x >= p->in_w) continue;
      acc += (in[(y * p->in_w + x) * p->in_c] - p->in_zero_point) * weights[(ky * p->k_w + kx) * p->out_c];
    }
  }
  return acc;
}

void kws_nn_depthwise_conv_2d(const kws_nn_conv_t *p, const int8_t *in, int8_t *out) {
  const int32_t multiple = p->out_c / p->in_c;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_w * p->in_c) {
    for (int32_t oy = 0; oy < p->out_h; oy++) {
      const int32_t y0 = oy * p->stride_h - p->pad_h;
      for (int32_t ox = 0; ox < p->out_w; ox++) {
        const int32_t x0 = ox * p->stride_w - p->pad_w;
        for (int32_t ic = 0, oc = 0; ic < p->in_c; ic++) {
          for (int32_t m = 0; m < multiple; m++, oc++) {
            int32_t acc = window_sum(p, in + ic, p->weights + oc, y0, x0);
            if (p->bias) acc += p->bias[oc];
            *out++ = kws_nn_output(acc, p->multiplier[oc], p->shift[oc], p->out_zero_point, p->act_min, p->act_max);
          }
        }
      }
    }
  }
}
