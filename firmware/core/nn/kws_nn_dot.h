/* The inner product that the convolutions and the dense layer spend their time in. */
#ifndef KWS_NN_DOT_H
#define KWS_NN_DOT_H

#include "fast/dsp.h"

/* sum of (a[i] - zero_point) * w[i] */
static inline int32_t kws_nn_dot(const int8_t *a, const int8_t *w, int32_t n, int32_t zero_point) {
  int32_t sum = 0;
#if KWS_DSP
  /* Four products a turn: bytes 0 and 2, then 1 and 3, widened to pairs of 16 bits. */
  const uint32_t offset = ((uint32_t)-zero_point & 0xffffu) * 0x10001u;
  for (; n >= 4; n -= 4, a += 4, w += 4) {
    const uint32_t a4 = kws_load32(a), w4 = kws_load32(w);
    sum = kws_smlad(kws_sxtab16(offset, a4), kws_sxtb16(w4), sum);
    sum = kws_smlad(kws_sxtab16_ror8(offset, a4), kws_sxtb16_ror8(w4), sum);
  }
#endif
  for (int32_t i = 0; i < n; i++) sum += (a[i] - zero_point) * w[i];
  return sum;
}

#endif
