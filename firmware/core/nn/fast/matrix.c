/* CONV_2D whose windows are runs of input values (1x1, or as wide as the input), and FULLY_CONNECTED. */
#include "matrix.h"

/* The last one to three values of a run as if zeros followed. */
static uint32_t load_tail(const int8_t *in, int32_t n) {
  uint32_t word = (uint8_t)in[0];
  if (n > 1) word |= (uint32_t)(uint8_t)in[1] << 8;
  if (n > 2) word |= (uint32_t)(uint8_t)in[2] << 16;
  return word;
}

/* The same quad of bytes of one or two positions. */
KWS_INLINE void expand_few(int count, const int8_t *in, int32_t step, int32_t quads, int32_t *a) {
  for (; quads; quads--, in += 4, a += 2 * count) {
    for (int s = 0; s < count; s++) {
      const uint32_t x = kws_load32(in + s * step);
      a[s] = (int32_t)kws_sxtb16(x);
      a[count + s] = (int32_t)kws_sxtb16_ror8(x);
    }
  }
}

/* int8 [count][k] to interleaved int16 pairs. */
static void expand(int32_t count, const int8_t *in, int32_t step, int32_t k, int32_t *a) {
  if (count == 3) {
    const int8_t *from[3] = {in, in + step, in + 2 * step};
    int32_t *to = a;
    for (int32_t n = k >> 2; n; n--) kws_expand3(from, &to);
  } else if (count == 2) {
    expand_few(2, in, step, k >> 2, a);
  } else {
    expand_few(1, in, step, k >> 2, a);
  }
  a += (k >> 2) * 2 * count;
  for (int32_t s = 0; s < count && (k & 3); s++) {
    const uint32_t x = load_tail(in + s * step + (k & ~3), k & 3);
    a[s] = (int32_t)kws_sxtb16(x);
    a[count + s] = (int32_t)kws_sxtb16_ror8(x);
  }
}

void kws_matrix_tiles(const kws_tiles_t *tiles, const kws_fast_matrix_t *p, const int8_t *in, int8_t *out,
                      int8_t *scratch) {
  int32_t *a = (int32_t *)(void *)scratch;
  int32_t left = p->positions;
  for (; left >= 3; left -= 3, in += 3 * p->in_step, out += 3 * p->out_c) {
    expand(3, in, p->in_step, p->k, a);
    kws_matrix_block(tiles, p, 3, a, out);
  }
  if (left) {
    expand(left, in, p->in_step, p->k, a);
    kws_matrix_block(tiles, p, left, a, out);
  }
}
