#include "kws_nn.h"
#include "kws_nn_math.h"

typedef struct {
  int32_t first, end; /* taps that lie inside the input */
} span_t;

static span_t inside(int32_t start, int32_t taps, int32_t dilation, int32_t length) {
  span_t s = {0, taps};
  while (s.first < taps && start + s.first * dilation < 0) s.first++;
  while (s.end > s.first && start + (s.end - 1) * dilation >= length) s.end--;
  return s;
}

/* One channel: in and weights point to the first tap that counts. */
static int32_t window_sum(const kws_nn_conv_t *p, const int8_t *in, const int8_t *weights, int32_t rows,
                          int32_t columns) {
  const int32_t in_step = p->dilation_w * p->in_c, w_step = p->out_c, zero_point = p->in_zero_point;
  int32_t acc = 0;
  for (int32_t y = 0; y < rows; y++) {
    const int8_t *a = in, *w = weights;
    for (int32_t x = 0; x < columns; x++, a += in_step, w += w_step) acc += (*a - zero_point) * *w;
    in += p->dilation_h * p->in_w * p->in_c;
    weights += p->k_w * p->out_c;
  }
  return acc;
}

void kws_nn_depthwise_conv_2d(const kws_nn_conv_t *p, const int8_t *in, int8_t *out) {
  const int32_t multiple = p->out_c / p->in_c;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_w * p->in_c) {
    for (int32_t oy = 0; oy < p->out_h; oy++) {
      const int32_t y0 = oy * p->stride_h - p->pad_h;
      const span_t y = inside(y0, p->k_h, p->dilation_h, p->in_h);
      for (int32_t ox = 0; ox < p->out_w; ox++) {
        const int32_t x0 = ox * p->stride_w - p->pad_w;
        const span_t x = inside(x0, p->k_w, p->dilation_w, p->in_w);
        const int8_t *a = in + ((y0 + y.first * p->dilation_h) * p->in_w + x0 + x.first * p->dilation_w) * p->in_c;
        const int8_t *w = p->weights + (y.first * p->k_w + x.first) * p->out_c;
        for (int32_t ic = 0, oc = 0; ic < p->in_c; ic++) {
          for (int32_t m = 0; m < multiple; m++, oc++) {
            int32_t acc = window_sum(p, a + ic, w + oc, y.end - y.first, x.end - x.first);
            if (p->bias) acc += p->bias[oc];
            *out++ = kws_nn_output(acc, p->multiplier[oc], p->shift[oc], p->out_zero_point, p->act_min, p->act_max);
          }
        }
      }
    }
  }
}
