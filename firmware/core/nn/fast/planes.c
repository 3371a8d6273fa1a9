/* The depthwise kernels of planes.h: filling the planes, and which groups there are. */
#include "planes.h"

/* The words of a pair of columns, one for each of four channels; `doubled` for weights. */
KWS_INLINE void put(int doubled, uint32_t x, uint32_t y, int32_t *plane, int32_t *plane3, int32_t distance) {
  uint32_t x02 = kws_sxtb16(x), y02 = kws_sxtb16(y), x13 = kws_sxtb16_ror8(x), y13 = kws_sxtb16_ror8(y);
  if (doubled) x02 = kws_double(x02), y02 = kws_double(y02), x13 = kws_double(x13), y13 = kws_double(y13);
  plane[0] = (int32_t)kws_pack00(x02, y02);
  plane[distance] = (int32_t)kws_pack00(x13, y13);
  plane[2 * distance] = (int32_t)kws_pack11(x02, y02);
  *plane3 = (int32_t)kws_pack11(x13, y13);
}

/* A pair of columns in `rows` rows; a column outside of the image has none. */
KWS_INLINE void fill_pair(int has_a, int has_b, const int8_t *a, const int8_t *b, int32_t rows, int32_t line,
                          uint32_t padding, int32_t *plane, int32_t pitch, int32_t distance) {
  int32_t *plane3 = plane + 3 * distance;
  for (; rows; rows--, plane += pitch, plane3 += pitch) {
    put(0, has_a ? kws_load32(a) : padding, has_b ? kws_load32(b) : padding, plane, plane3, distance);
    if (has_a) a += line;
    if (has_b) b += line;
  }
}

/* The only row of a line, which has no padding; words beyond its end only have to be defined. */
static __attribute__((noinline)) void fill_line(const kws_fast_planes_t *p, const int8_t *in, int32_t *plane) {
  const int32_t distance = p->words, channels = p->channels, pairs = p->in_w >> 1;
  int32_t *plane3 = plane + 3 * distance;
  for (int32_t n = pairs; n; n--, in += 2 * channels) {
    put(0, kws_load32(in), kws_load32(in + channels), plane++, plane3++, distance);
  }
  if (p->in_w & 1) put(0, kws_load32(in), 0, plane++, plane3++, distance);
  for (int32_t n = p->words - ((p->in_w + 1) >> 1); n > 0; n--) put(0, 0, 0, plane++, plane3++, distance);
}

/* `count` rows of four channels from row y on into the planes, which are `distance` words apart. Words of padding alone
 * stay what they are: they are only written for the first channels. */
static __attribute__((noinline)) void fill(const kws_fast_planes_t *p, const int8_t *in, int first, int32_t y,
                                           int32_t count, int32_t *planes, int32_t distance) {
  const int32_t line = p->in_w * p->channels;
  const int32_t zero = (int32_t)kws_sxtb16(p->padding);
  for (; count && (y < 0 || y >= p->in_h); count--, y++, planes += p->words) {
    for (int c = 0; c < 4; c++) {
      for (int32_t j = 0; j < p->words; j++) planes[c * distance + j] = zero;
    }
  }
  if (!count) return;
  const int32_t inside = p->in_h - y < count ? p->in_h - y : count;
  const int8_t *row = in + y * line;
  for (int32_t j = 0, x = -p->pad_w; j < p->words; j++, x += 2) {
    const int has_a = x >= 0 && x < p->in_w, has_b = x + 1 >= 0 && x + 1 < p->in_w;
    const int8_t *a = has_a ? row + x * p->channels : row, *b = has_b ? row + (x + 1) * p->channels : row;
    if (has_a && has_b) {
      fill_pair(1, 1, a, b, inside, line, p->padding, planes + j, p->words, distance);
    } else if (has_a) {
      fill_pair(1, 0, a, b, inside, line, p->padding, planes + j, p->words, distance);
    } else if (has_b) {
      fill_pair(0, 1, a, b, inside, line, p->padding, planes + j, p->words, distance);
    } else if (first) {
      fill_pair(0, 0, a, b, inside, line, p->padding, planes + j, p->words, distance);
    }
  }
  planes += inside * p->words;
  for (count -= inside; count; count--, planes += p->words) {
    for (int c = 0; c < 4; c++) {
      for (int32_t j = 0; j < p->words; j++) planes[c * distance + j] = zero;
    }
  }
}

/* Bias, weights and m, c, n of four channels as kws_planes_column() reads them, `words` for each. */
KWS_INLINE void unpack(kws_planes_t shape, int32_t k_h, int32_t k_w, const int32_t *packed, int32_t *w, int32_t words) {
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
      put(1, x, next, w++, w3++, words);
      if (kws_planes_x_stride(shape) == 1) put(1, before, x, w++, w3++, words);
      before = next;
    }
  }
}

/* All groups of one channel. */
KWS_INLINE void channel(int kind, kws_planes_t shape, const kws_fast_planes_t *p, const kws_planes_column_t *a,
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

KWS_INLINE void planes(int kind, kws_planes_t shape, const kws_fast_planes_t *p, const int8_t *in, int8_t *out,
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
    unpack(shape, k_h, p->k_w, packed, w, words);
    int32_t have = 0;
    for (int32_t oy = 0; oy < p->out_h; oy += p->band) {
      const int32_t rows = p->out_h - oy < p->band ? p->out_h - oy : p->band;
      if (shape != KWS_PLANES_LINE_S1_G6) a.count = rows;
      if (shape == KWS_PLANES_LINE_S1_G6) {
        fill_line(p, in + first, plane);
      } else {
        fill(p, in + first, !first, oy * p->stride_h - p->pad_h + have, held - have, plane + have * p->words, distance);
      }
      for (int c = 0; c < 4; c++) {
        channel(kind, shape, p, &a, plane + c * distance, w + c * words,
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

#define PLANES(SHAPE, name, suffix, kind)                                                                      \
  void kws_fast_planes_##name##_##suffix(const kws_fast_planes_t *p, const int8_t *in, int8_t *out,              \
                                         int8_t *scratch) {                                                    \
    planes(kind, SHAPE, p, in, out, scratch);                                                                  \
  }
#define KINDS(SHAPE, name)                   \
  PLANES(SHAPE, name, relu, KWS_RQ_RELU)     \
  PLANES(SHAPE, name, linear, KWS_RQ_LINEAR) \
  PLANES(SHAPE, name, any, KWS_RQ_ANY)

KINDS(KWS_PLANES_3X3_S1_G5, 3x3_s1_g5)
KINDS(KWS_PLANES_3X3_S1_G6, 3x3_s1_g6)
KINDS(KWS_PLANES_3X3_S2_G4, 3x3_s2_g4)
KINDS(KWS_PLANES_X5_S1_G5, x5_s1_g5)
KINDS(KWS_PLANES_X5_S2_G4, x5_s2_g4)
KINDS(KWS_PLANES_LINE_S1_G6, line_s1_g6)
