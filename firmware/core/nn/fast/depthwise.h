/* One output position of a depthwise convolution: groups of four channels. */
#ifndef KWS_FAST_DEPTHWISE_H
#define KWS_FAST_DEPTHWISE_H

#include "kws_fast.h"

/* Words of `packed` for four channels. */
KWS_INLINE int32_t kws_depthwise_stride(int32_t pairs) { return 4 * pairs + 16; }

/* Where the taps of a window are: the board's code takes addresses, the portable one offsets from `in` (an address of
 * the host does not fit), negative for the padding. */
typedef struct {
  const int8_t *in, *padding;
  int32_t *taps;
} kws_taps_t;

KWS_INLINE int32_t kws_tap(const kws_taps_t *t, int inside, int32_t offset) {
#if KWS_DSP
  return (int32_t)(inside ? t->in + offset : t->padding);
#else
  (void)t;
  return inside ? offset : -1;
#endif
}

KWS_INLINE const int8_t *kws_tap_at(const kws_taps_t *t, int32_t tap) {
#if KWS_DSP
  (void)t;
  return (const int8_t *)tap;
#else
  return tap < 0 ? t->padding : t->in + tap;
#endif
}

#if KWS_DSP
/* `offset` is the first channel, for `taps` and `out`. */
void kws_depthwise_quads_relu(const int32_t *taps, const int32_t *w, int32_t pairs, int32_t offset, int32_t quads,
                              int8_t *out);
void kws_depthwise_quads_linear(const int32_t *taps, const int32_t *w, int32_t pairs, int32_t offset, int32_t quads,
                                int8_t *out);
#endif

KWS_INLINE void kws_depthwise_quads(int kind, const kws_taps_t *t, const int32_t *w, int32_t pairs, int32_t offset,
                                    int32_t quads, const kws_rq_limits_t *limits, int8_t *out) {
#if KWS_DSP
  if (kind == KWS_RQ_RELU) {
    kws_depthwise_quads_relu(t->taps, w, pairs, offset, quads, out);
    return;
  }
  if (kind == KWS_RQ_LINEAR) {
    kws_depthwise_quads_linear(t->taps, w, pairs, offset, quads, out);
    return;
  }
#endif
  static const uint8_t channel[4] = {0, 2, 1, 3};
  for (; quads; quads--, offset += 4) {
    int32_t acc[4] = {w[0], w[1], w[2], w[3]};
    w += 4;
    for (int32_t i = 0; i < pairs; i++, w += 4) {
      const uint32_t x = kws_load32(kws_tap_at(t, t->taps[2 * i]) + offset);
      const uint32_t y = kws_load32(kws_tap_at(t, t->taps[2 * i + 1]) + offset);
      const uint32_t x02 = kws_sxtb16(x), y02 = kws_sxtb16(y), x13 = kws_sxtb16_ror8(x), y13 = kws_sxtb16_ror8(y);
      acc[0] = kws_smlad(kws_pack00(x02, y02), (uint32_t)w[0], acc[0]);
      acc[1] = kws_smlad(kws_pack11(x02, y02), (uint32_t)w[1], acc[1]);
      acc[2] = kws_smlad(kws_pack00(x13, y13), (uint32_t)w[2], acc[2]);
      acc[3] = kws_smlad(kws_pack11(x13, y13), (uint32_t)w[3], acc[3]);
    }
    for (int i = 0; i < 4; i++, w += 3) {
      out[offset + channel[i]] = kws_requantize(kind, acc[i], w[0], w[1], w[2], limits);
    }
  }
}

#endif
