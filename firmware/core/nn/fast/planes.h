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
  int32_t data_step; /* bytes of the plane from group to group */
  int32_t channels;  /* from output to output */
  int32_t steps;     /* words of a window's row */
  int32_t last;      /* outputs that a line's last group writes */
  int32_t rows;      /* of a window */
} kws_planes_column_t;

#if KWS_DSP
/* In assembly, in the file of their shape. */
#define KWS_PLANES_M4(name)                                                                                          \
  void kws_planes_##name##_relu(const int32_t *data, const int32_t *w, int8_t *out, const kws_planes_column_t *a);   \
  void kws_planes_##name##_linear(const int32_t *data, const int32_t *w, int8_t *out, const kws_planes_column_t *a);
KWS_PLANES_M4(3x3_s1_g5)
KWS_PLANES_M4(3x3_s1_g6)
KWS_PLANES_M4(3x3_s2_g4)
KWS_PLANES_M4(x5_s1_g5)
KWS_PLANES_M4(x5_s2_g4)
KWS_PLANES_M4(line_s1_g6)
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

/* The words of a pair of columns, one for each of four channels; `doubled` for weights. */
KWS_INLINE void kws_planes_put(int doubled, uint32_t x, uint32_t y, int32_t *plane, int32_t *plane3, int32_t distance) {
  uint32_t x02 = kws_sxtb16(x), y02 = kws_sxtb16(y), x13 = kws_sxtb16_ror8(x), y13 = kws_sxtb16_ror8(y);
  if (doubled) x02 = kws_double(x02), y02 = kws_double(y02), x13 = kws_double(x13), y13 = kws_double(y13);
  plane[0] = (int32_t)kws_pack00(x02, y02);
  plane[distance] = (int32_t)kws_pack00(x13, y13);
  plane[2 * distance] = (int32_t)kws_pack11(x02, y02);
  *plane3 = (int32_t)kws_pack11(x13, y13);
}

/* The only row of a line, which has no padding; words beyond its end only have to be defined. */
void kws_planes_fill_line(const kws_fast_planes_t *p, const int8_t *in, int32_t *plane);

/* `count` rows of four channels from row y on into the planes, which are `distance` words apart. Words of padding alone
 * stay what they are: they are only written for the first channels. */
void kws_planes_fill(const kws_fast_planes_t *p, const int8_t *in, int first, int32_t y, int32_t count, int32_t *planes,
                     int32_t distance);

/* Bias, weights and m, c, n of four channels as kws_planes_column() reads them, `words` for each. */
KWS_INLINE void kws_planes_unpack(kws_planes_t shape, int32_t k_h, int32_t k_w, const int32_t *packed, int32_t *w, int32_t words) {
  const int32_t steps = kws_planes_steps(shape, k_w);
  for (int c = 0; c < 4; c++, packed += 4) {
    w[c * words] = packed[0];
    for (int i = 1; i < 4; i++) w[(c + 1) * words - 4 + i] = packed[i];
  }
  int32_t *w3 = ++w + 3 * words;
  for (int32_t y = k_h; y; y--) {
    uint32_t before = 0;
    for (int32_t left = k_w, j = steps; j; j--, left -= 2) {
      const uint32_t x = left > 0 ? (uint32_t)*packed++ : 0, next = left > 1 ? (uint32_t)*packed++ : 0;
      kws_planes_put(1, x, next, w++, w3++, words);
      if (kws_planes_x_stride(shape) == 1) kws_planes_put(1, before, x, w++, w3++, words);
      before = next;
    }
  }
}

/* All groups of one channel. */
KWS_INLINE void kws_planes_channel(int kind, kws_planes_t shape, const kws_fast_planes_t *p, const kws_planes_column_t *a,
                        const int32_t *plane, const int32_t *w, int8_t *out) {
  if (shape == KWS_PLANES_LINE_S1_G6) {
    kws_planes_column(kind, shape, plane, w, out, a, &p->limits);
    return;
  }
  /* The last group overlaps the one before. With stride 1 a group begins at an even output. */
  const int32_t group = kws_planes_group(shape), end = p->out_w - group, step = group & ~1;
  for (int32_t x = 0;; x = x + step < end ? x + step : end) {
    const int32_t word = kws_planes_x_stride(shape) == 1 ? x >> 1 : x;
    kws_planes_column(kind, shape, plane + word, w, out + x * p->channels, a, &p->limits);
    if (x == end) break;
  }
}

KWS_INLINE void kws_planes(int kind, kws_planes_t shape, const kws_fast_planes_t *p, const int8_t *in, int8_t *out,
                       int8_t *scratch) {
  int32_t *plane = (int32_t *)(void *)scratch;
  const int32_t k_h = p->k_h;
  const int32_t held = (p->band - 1) * p->stride_h + k_h, distance = held * p->words;
  const int32_t advance = p->band * p->stride_h;
  const int32_t kept = held > advance ? held - advance : 0;
  const int32_t words = kws_planes_words(shape, k_h, p->k_w);
  const int32_t *packed = p->packed;
  int32_t *w = plane + 4 * distance;
  kws_planes_column_t a = {0, 4 * p->words, p->out_w * p->channels, 4 * p->words * p->stride_h, p->channels,
                           kws_planes_steps(shape, p->k_w), 0, k_h};
  if (shape == KWS_PLANES_LINE_S1_G6) {
    a.count = (p->out_w + 5) / 6;
    a.last = p->out_w - 6 * (a.count - 1);
    a.out_step = 6 * p->channels;
    a.data_step = 12;
  }
  for (int32_t first = 0; first < p->channels; first += 4, packed += 16 + k_h * p->k_w) {
    kws_planes_unpack(shape, k_h, p->k_w, packed, w, words);
    int32_t have = 0;
    for (int32_t oy = 0; oy < p->out_h; oy += p->band) {
      const int32_t rows = p->out_h - oy < p->band ? p->out_h - oy : p->band;
      if (shape != KWS_PLANES_LINE_S1_G6) a.count = rows;
      if (shape == KWS_PLANES_LINE_S1_G6) {
        kws_planes_fill_line(p, in + first, plane);
      } else {
        kws_planes_fill(p, in + first, !first, oy * p->stride_h - p->pad_h + have, held - have,
                        plane + have * p->words, distance);
      }
      for (int c = 0; c < 4; c++) {
        kws_planes_channel(kind, shape, p, &a, plane + c * distance, w + c * words,
                out + oy * p->out_w * p->channels + first + c);
      }
      have = kept;
      if (oy + rows == p->out_h) break;
      for (int c = 0; c < 4; c++) {
        int32_t *to = plane + c * distance;
        const int32_t *from = to + distance - kept * p->words;
        for (int32_t n = kept * p->words; n; n--) *to++ = *from++;
      }
    }
  }
}

/* A shape's three kernels. */
#define KWS_PLANES_KIND(SHAPE, name, suffix, kind)                                                 \
  void kws_fast_planes_##name##_##suffix(const kws_fast_planes_t *p, const int8_t *in, int8_t *out, \
                                         int8_t *scratch) {                                        \
    kws_planes(kind, SHAPE, p, in, out, scratch);                                                  \
  }
#define KWS_PLANES_KINDS(SHAPE, name)                  \
  KWS_PLANES_KIND(SHAPE, name, relu, KWS_RQ_RELU)     \
  KWS_PLANES_KIND(SHAPE, name, linear, KWS_RQ_LINEAR) \
  KWS_PLANES_KIND(SHAPE, name, any, KWS_RQ_ANY)

#endif
