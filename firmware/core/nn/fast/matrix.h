/* Blocks of the matrix product: all output channels of one to three positions, two channels at a time.
 *
 * Why 2 x 3: a pair of k costs one LDM for both weights, one for three positions and six SMLAD of two products each:
 * 8 instructions for 12 products. In 14 registers no other shape does better.
 * Positions lie interleaved: for each pair of k a word of the first position, then one of each other position. */
#ifndef KWS_FAST_MATRIX_H
#define KWS_FAST_MATRIX_H

#include "kws_fast.h"

/* Words of `packed` for one pair of output channels. */
KWS_INLINE int32_t kws_matrix_stride(int32_t pairs) { return 2 * pairs + 8; }

/* Output channels from `first` on, in portable C. Positions are out_c bytes apart in `out`. */
KWS_INLINE void kws_matrix_block_c(int kind, int count, const int32_t *w, const int32_t *a, int32_t pairs,
                                   int32_t out_c, int32_t first, const kws_rq_limits_t *limits, int8_t *out) {
  for (int32_t c = first; c < out_c; c++) {
    const int32_t *at = w + (c >> 1) * kws_matrix_stride(pairs);
    const int32_t *rq = at + kws_matrix_stride(pairs) - 6 + 3 * (c & 1);
    const int32_t bias = at[c & 1];
    int32_t acc[3] = {bias, bias, bias};
    at += 2 + (c & 1);
    for (int32_t i = 0; i < pairs; i++) {
      for (int s = 0; s < count; s++) acc[s] = kws_smlad((uint32_t)at[2 * i], (uint32_t)a[count * i + s], acc[s]);
    }
    for (int s = 0; s < count; s++) out[s * out_c + c] = kws_requantize(kind, acc[s], rq[0], rq[1], rq[2], limits);
  }
}

#if KWS_DSP
/* out_c & ~1 channels of so many positions. */
void kws_matrix_3_relu(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out);
void kws_matrix_2_relu(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out);
void kws_matrix_1_relu(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out);
void kws_matrix_3_linear(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out);
void kws_matrix_2_linear(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out);
void kws_matrix_1_linear(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out);
#endif

KWS_INLINE void kws_matrix_block(int kind, int count, const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c,
                                 const kws_rq_limits_t *limits, int8_t *out) {
  int32_t done = 0;
#if KWS_DSP
  if (kind == KWS_RQ_RELU && out_c > 1) {
    (count == 3   ? kws_matrix_3_relu
     : count == 2 ? kws_matrix_2_relu
                  : kws_matrix_1_relu)(w, a, pairs, out_c, out);
    done = out_c & ~1;
  }
  if (kind == KWS_RQ_LINEAR && out_c > 1) {
    (count == 3   ? kws_matrix_3_linear
     : count == 2 ? kws_matrix_2_linear
                  : kws_matrix_1_linear)(w, a, pairs, out_c, out);
    done = out_c & ~1;
  }
  if (done == out_c) return;
#endif
  kws_matrix_block_c(kind, count, w, a, pairs, out_c, done, limits, out);
}

#endif
