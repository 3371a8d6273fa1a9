/* The kernels of planes.h: filling the planes. */
#include "planes.h"

/* A pair of columns in `rows` rows; a column outside of the image has none. */
KWS_INLINE void fill_pair(int has_a, int has_b, const int8_t *a, const int8_t *b, int32_t rows, int32_t line,
                          uint32_t padding, int32_t *plane, int32_t pitch, int32_t distance) {
  int32_t *plane3 = plane + 3 * distance;
  for (; rows; rows--, plane += pitch, plane3 += pitch) {
    kws_planes_put(0, has_a ? kws_load32(a) : padding, has_b ? kws_load32(b) : padding, plane, plane3, distance);
    if (has_a) a += line;
    if (has_b) b += line;
  }
}

void kws_planes_fill_line(const kws_fast_planes_t *p, const int8_t *in, int32_t *plane) {
  const int32_t distance = p->words, channels = p->channels, pairs = p->in_w >> 1;
  int32_t *plane3 = plane + 3 * distance;
  for (int32_t n = pairs; n; n--, in += 2 * channels) {
    kws_planes_put(0, kws_load32(in), kws_load32(in + channels), plane++, plane3++, distance);
  }
  if (p->in_w & 1) kws_planes_put(0, kws_load32(in), 0, plane++, plane3++, distance);
  for (int32_t n = p->words - ((p->in_w + 1) >> 1); n > 0; n--) kws_planes_put(0, 0, 0, plane++, plane3++, distance);
}

void kws_planes_fill(const kws_fast_planes_t *p, const int8_t *in, int first, int32_t y, int32_t count, int32_t *planes,
                     int32_t distance) {
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
