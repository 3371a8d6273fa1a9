/* DEPTHWISE_CONV_2D, four channels at a time. For every output position the addresses of all taps are listed; a tap in
 * the padding has the address of a row of zero points. So no inner loop asks for limits. */
#include "depthwise.h"

/* The taps of the window at (y0, x0); t->in is the image. */
static void list_taps(const kws_fast_depthwise_t *p, const kws_taps_t *t, int32_t y0, int32_t x0) {
  int32_t *at = t->taps;
  for (int32_t ky = 0, y = y0; ky < p->k_h; ky++, y += p->dilation_h) {
    for (int32_t kx = 0, x = x0; kx < p->k_w; kx++, x += p->dilation_w) {
      const int inside = y >= 0 && y < p->in_h && x >= 0 && x < p->in_w;
      *at++ = kws_tap(t, inside, (y * p->in_w + x) * p->channels);
    }
  }
  if ((p->k_h * p->k_w) & 1) at[0] = at[-1];
}

KWS_INLINE void depthwise(int kind, const kws_fast_depthwise_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  const int32_t pairs = (p->k_h * p->k_w + 1) >> 1, channels = p->channels;
  int32_t *taps = (int32_t *)(void *)scratch;
  int8_t *padding = (int8_t *)(taps + 2 * pairs);
  memset(padding, p->in_zero_point, (size_t)channels);
  const int32_t *rest = p->packed + (channels >> 2) * kws_depthwise_stride(pairs);
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_w * channels) {
    const kws_taps_t t = {in, padding, taps};
    for (int32_t oy = 0, y0 = -p->pad_h; oy < p->out_h; oy++, y0 += p->stride_h) {
      for (int32_t ox = 0, x0 = -p->pad_w; ox < p->out_w; ox++, x0 += p->stride_w, out += channels) {
        list_taps(p, &t, y0, x0);
        kws_depthwise_quads(kind, &t, p->packed, pairs, 0, channels >> 2, &p->limits, out);
        if (channels & 3) kws_depthwise_quads(kind, &t, rest, pairs, channels - 4, 1, &p->limits, out);
      }
    }
  }
}

void kws_fast_depthwise_relu(const kws_fast_depthwise_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  depthwise(KWS_RQ_RELU, p, in, out, scratch);
}
void kws_fast_depthwise_linear(const kws_fast_depthwise_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  depthwise(KWS_RQ_LINEAR, p, in, out, scratch);
}
void kws_fast_depthwise_any(const kws_fast_depthwise_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  depthwise(KWS_RQ_ANY, p, in, out, scratch);
}
