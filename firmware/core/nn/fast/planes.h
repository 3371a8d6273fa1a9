/* DEPTHWISE_CONV_2D by planes: each channel's values are brought together, two neighbouring columns in a word, and every
 * word then serves all windows that it lies in. Cheaper than depthwise.c where windows overlap along a row.
 *
 * With stride 1 an even output meets words (x0 x1)(x2 x3).. with weights (w0 w1)(w2 0), an odd one the same words with
 * (0 w0)(w1 w2): both kinds of weights are kept. With stride 2 all outputs are of the first kind. */
#ifndef KWS_FAST_PLANES_H
#define KWS_FAST_PLANES_H

#include "kws_fast.h"

/* How one kernel works: `group` outputs of a row at a time. */
typedef enum {
  KWS_PLANES_3X3_S1_G5,
  KWS_PLANES_3X3_S1_G6,
  KWS_PLANES_3X3_S2_G4,
  KWS_PLANES_X5_S1_G5, /* any rows; three words of weights to a row */
  KWS_PLANES_X5_S2_G4,
  KWS_PLANES_LINE_S1_G6, /* one row of any length */
} kws_planes_t;

KWS_INLINE int kws_planes_x_stride(kws_planes_t shape) {
  return shape == KWS_PLANES_3X3_S2_G4 || shape == KWS_PLANES_X5_S2_G4 ? 2 : 1;
}
KWS_INLINE int kws_planes_group(kws_planes_t shape) {
  if (shape == KWS_PLANES_3X3_S1_G5 || shape == KWS_PLANES_X5_S1_G5) return 5;
  return kws_planes_x_stride(shape) == 2 ? 4 : 6;
}

/* Words of a row of weights, and all words of a channel's bias, weights and m, c, n. */
KWS_INLINE int32_t kws_planes_steps(kws_planes_t shape, int32_t k_w) {
  return kws_planes_x_stride(shape) == 1 ? (k_w >> 1) + 1 : (k_w + 1) >> 1;
}
KWS_INLINE int32_t kws_planes_words(kws_planes_t shape, int32_t k_h, int32_t k_w) {
  return k_h * kws_planes_steps(shape, k_w) * (3 - kws_planes_x_stride(shape)) + 4;
}

/* A column of `count` groups of one channel; distances in words of the plane and in bytes of `out`. The assembly knows
 * the order of the fields. */
typedef struct {
  int32_t count;
  int32_t pitch;     /* bytes between two rows of a window */
  int32_t out_step;  /* from group to group */
  int32_t data_step; /* bytes, likewise */
  int32_t channels;  /* from output to output */
  int32_t steps;     /* words of a window's row */
  int32_t last;      /* a line's last group: only so many outputs are written */
  int32_t rows;      /* of a window */
} kws_planes_column_t;

#if KWS_DSP
#define KWS_PLANES_M4(name) \
  void kws_planes_##name(const int32_t *data, const int32_t *w, int8_t *out, const kws_planes_column_t *a);
KWS_PLANES_M4(3x3_s1_g5_relu)
KWS_PLANES_M4(3x3_s1_g5_linear)
KWS_PLANES_M4(3x3_s1_g6_relu)
KWS_PLANES_M4(3x3_s1_g6_linear)
KWS_PLANES_M4(3x3_s2_g4_relu)
KWS_PLANES_M4(3x3_s2_g4_linear)
KWS_PLANES_M4(x5_s1_g5_relu)
KWS_PLANES_M4(x5_s1_g5_linear)
KWS_PLANES_M4(x5_s2_g4_relu)
KWS_PLANES_M4(x5_s2_g4_linear)
KWS_PLANES_M4(line_s1_g6_relu)
KWS_PLANES_M4(line_s1_g6_linear)
#endif

KWS_INLINE void kws_planes_column(int kind, kws_planes_t shape, const int32_t *data, const int32_t *w, int8_t *out,
                                  const kws_planes_column_t *a, const kws_rq_limits_t *limits) {
#if KWS_DSP
#define KWS_PLANES_CASE(SHAPE, name)                                                                 \
  if (shape == SHAPE && kind == KWS_RQ_RELU) { kws_planes_##name##_relu(data, w, out, a); return; } \
  if (shape == SHAPE && kind == KWS_RQ_LINEAR) { kws_planes_##name##_linear(data, w, out, a); return; }
  KWS_PLANES_CASE(KWS_PLANES_3X3_S1_G5, 3x3_s1_g5)
  KWS_PLANES_CASE(KWS_PLANES_3X3_S1_G6, 3x3_s1_g6)
  KWS_PLANES_CASE(KWS_PLANES_3X3_S2_G4, 3x3_s2_g4)
  KWS_PLANES_CASE(KWS_PLANES_X5_S1_G5, x5_s1_g5)
  KWS_PLANES_CASE(KWS_PLANES_X5_S2_G4, x5_s2_g4)
  KWS_PLANES_CASE(KWS_PLANES_LINE_S1_G6, line_s1_g6)
#endif
  const int stride = kws_planes_x_stride(shape), group = kws_planes_group(shape);
  const int32_t *rq = w + 1 + a->rows * a->steps * (3 - stride);
  for (int32_t i = 0; i < a->count; i++, data += a->data_step / 4, out += a->out_step) {
    int32_t acc[6];
    for (int g = 0; g < group; g++) acc[g] = w[0];
    const int32_t *at = w + 1;
    for (int32_t y = 0; y < a->rows; y++) {
      for (int32_t j = 0; j < a->steps; j++, at += 3 - stride) {
        for (int g = 0; g < group; g++) {
          const uint32_t x = (uint32_t)data[y * (a->pitch / 4) + j + (stride == 1 ? g >> 1 : g)];
          acc[g] = kws_smlad(x, (uint32_t)at[stride == 1 ? g & 1 : 0], acc[g]);
        }
      }
    }
    const int written = shape == KWS_PLANES_LINE_S1_G6 && i == a->count - 1 ? a->last : group;
    for (int g = 0; g < written; g++) {
      out[g * a->channels] = kws_requantize(kind, acc[g], rq[0], rq[1], rq[2], limits);
    }
  }
}

#endif
