/* Tiles of the matrix product: all pairs of output channels for one to three positions.
 *
 * Why two channels by three positions: with int16 weights a pair of k costs one LDM for both weights, one for three
 * positions and six SMLAD of two products each, 8 instructions for 12 products; in 14 registers no other shape does better.
 * With both channels' weights in one word, 256 * b + a, two sums are kept: of that word and of a alone (one SXTB16); b's
 * is their difference / 256. That is 8.5 instructions at half the size.
 * Positions lie interleaved: for each pair of k a word of the first position, then one of each other position. */
#ifndef KWS_FAST_MATRIX_H
#define KWS_FAST_MATRIX_H

#include "kws_fast.h"

/* out_c & ~1 channels; positions are out_c bytes apart in `out`. */
typedef void kws_tile_t(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out,
                        const kws_rq_limits_t *limits);

/* Tiles for 1, 2 and 3 positions of one format and kind. */
typedef struct {
  kws_tile_t *tile[3];
  int32_t pair_words; /* words of `packed` for a pair of k of two channels */
} kws_tiles_t;

extern const kws_tiles_t kws_tiles16_relu, kws_tiles16_linear, kws_tiles16_any;
extern const kws_tiles_t kws_tiles8_relu, kws_tiles8_linear, kws_tiles8_any;

/* kws_fast_matrix<format>_<kind> and kws_fast_conv<format>_<kind>. Those of a format lie in a file of their own, so that a
 * program that calls one format needs no file of the other. */
void kws_matrix_tiles(const kws_tiles_t *tiles, const kws_fast_matrix_t *p, const int8_t *in, int8_t *out,
                      int8_t *scratch);
void kws_conv_tiles(const kws_tiles_t *tiles, const kws_fast_conv_t *p, const int8_t *in, int8_t *out, int8_t *scratch);

#define KWS_MATRIX(format, kind)                                                                                      \
  void kws_fast_matrix##format##_##kind(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch) { \
    kws_matrix_tiles(&kws_tiles##format##_##kind, p, in, out, scratch);                                               \
  }
#define KWS_CONV(format, kind)                                                                                    \
  void kws_fast_conv##format##_##kind(const kws_fast_conv_t *p, const int8_t *in, int8_t *out, int8_t *scratch) { \
    kws_conv_tiles(&kws_tiles##format##_##kind, p, in, out, scratch);                                             \
  }

/* All output channels of `count` positions. */
static inline void kws_matrix_block(const kws_tiles_t *t, const kws_fast_matrix_t *p, int32_t count, const int32_t *a,
                                    int8_t *out) {
  kws_tile_t *tile = t->tile[count - 1];
  if (p->out_c > 1) tile(p->packed, a, p->pairs, p->out_c, out, &p->limits);
  if (p->out_c & 1) {
    /* The last channel and its partner of zeros, beside `out`. */
    int8_t last[6];
    tile(p->packed + (p->out_c >> 1) * (t->pair_words * p->pairs + 8), a, p->pairs, 2, last, &p->limits);
    for (int32_t s = 0; s < count; s++) out[s * p->out_c + p->out_c - 1] = last[2 * s];
  }
}

/* A tile in portable C; the sums wrap as the board's do. */
KWS_INLINE void kws_tile_c(int format, int kind, int count, const int32_t *w, const int32_t *a, int32_t pairs,
                           int32_t out_c, int8_t *out, const kws_rq_limits_t *limits) {
  for (int32_t c = 0; c + 1 < out_c; c += 2, out += 2) {
    int32_t even[3], odd[3];
    for (int s = 0; s < count; s++) even[s] = w[format == 16 ? 0 : 1], odd[s] = w[format == 16 ? 1 : 0];
    w += 2;
    for (int32_t i = 0; i < pairs; i++, w += format == 16 ? 2 : 1) {
      for (int s = 0; s < count; s++) {
        const uint32_t x = (uint32_t)a[count * i + s];
        even[s] = kws_smlad(format == 16 ? (uint32_t)w[0] : kws_sxtb16((uint32_t)w[0]), x, even[s]);
        odd[s] = kws_smlad((uint32_t)w[format == 16 ? 1 : 0], x, odd[s]);
      }
    }
    for (int s = 0; s < count; s++) {
      if (format == 16) {
        out[s * out_c] = kws_requantize(kind, even[s], w[0], w[1], w[2], limits);
        out[s * out_c + 1] = kws_requantize(kind, odd[s], w[3], w[4], w[5], limits);
      } else {
        const int32_t doubled = (int32_t)((uint32_t)even[s] << 1);
        const int32_t difference = (int32_t)((uint32_t)odd[s] - (uint32_t)even[s]);
        out[s * out_c] = kws_requantize(kind, doubled, w[0], w[1], w[2], limits);
        out[s * out_c + 1] = kws_requantize256(kind, difference, w[3], w[4], w[5], limits);
      }
    }
    w += 6;
  }
}

/* The three tiles of a format and kind, defined before. */
#define KWS_TILES(format, suffix) \
  const kws_tiles_t kws_tiles##format##_##suffix = {{tile1_##suffix, tile2_##suffix, tile3_##suffix}, format / 8};

#define KWS_TILE_C(format, count, suffix, kind)                                                                       \
  static void tile##count##_##suffix(const int32_t *w, const int32_t *a, int32_t pairs, int32_t out_c, int8_t *out,   \
                                     const kws_rq_limits_t *limits) {                                                 \
    kws_tile_c(format, kind, count, w, a, pairs, out_c, out, limits);                                                 \
  }
#define KWS_TILES_C(format, suffix, kind) \
  KWS_TILE_C(format, 1, suffix, kind)      \
  KWS_TILE_C(format, 2, suffix, kind)      \
  KWS_TILE_C(format, 3, suffix, kind)      \
  KWS_TILES(format, suffix)

/* A tile in assembly, with a prologue and an epilogue of its own. */
#define KWS_TILE_ASM(count, suffix, code)                                                                             \
  static __attribute__((naked)) void tile##count##_##suffix(                                                          \
      const int32_t *w __attribute__((unused)), const int32_t *a __attribute__((unused)),                             \
      int32_t pairs __attribute__((unused)), int32_t out_c __attribute__((unused)),                                   \
      int8_t *out __attribute__((unused)), const kws_rq_limits_t *limits __attribute__((unused))) {                   \
    __asm__ volatile(code);                                                                                           \
  }

#endif
