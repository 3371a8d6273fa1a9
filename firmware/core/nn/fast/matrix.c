/* CONV_2D whose windows are runs of input values: 1x1, or as wide as the input. */
#include "matrix.h"

/* The last one to three values of a run as if zeros followed. */
KWS_INLINE uint32_t load_tail(const int8_t *in, int32_t n) {
  uint32_t word = (uint8_t)in[0];
  if (n > 1) word |= (uint32_t)(uint8_t)in[1] << 8;
  if (n > 2) word |= (uint32_t)(uint8_t)in[2] << 16;
  return word;
}

/* int8 [count][k] to interleaved int16 pairs. */
KWS_INLINE void expand(int count, const int8_t *in, int32_t step, int32_t k, int32_t *a) {
  for (int32_t n = k >> 2; n; n--, in += 4, a += 2 * count) {
    uint32_t x[3] = {0, 0, 0};
    for (int s = 0; s < count; s++) x[s] = kws_load32(in + s * step);
    for (int s = 0; s < count; s++) a[s] = (int32_t)kws_sxtb16(x[s]);
    for (int s = 0; s < count; s++) a[count + s] = (int32_t)kws_sxtb16_ror8(x[s]);
  }
  if (k & 3) {
    for (int s = 0; s < count; s++) {
      const uint32_t x = load_tail(in + s * step, k & 3);
      a[s] = (int32_t)kws_sxtb16(x);
      a[count + s] = (int32_t)kws_sxtb16_ror8(x);
    }
  }
}

KWS_INLINE void block(int kind, int count, const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int32_t *a) {
  expand(count, in, p->in_step, p->k, a);
  kws_matrix_block(kind, count, p->packed, a, p->pairs, p->out_c, &p->limits, out);
}

KWS_INLINE void matrix(int kind, const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  int32_t *a = (int32_t *)(void *)scratch;
  int32_t left = p->positions;
  for (; left >= 3; left -= 3, in += 3 * p->in_step, out += 3 * p->out_c) block(kind, 3, p, in, out, a);
  if (left == 2) block(kind, 2, p, in, out, a);
  if (left == 1) block(kind, 1, p, in, out, a);
}

void kws_fast_matrix_relu(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  matrix(KWS_RQ_RELU, p, in, out, scratch);
}
void kws_fast_matrix_linear(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  matrix(KWS_RQ_LINEAR, p, in, out, scratch);
}
void kws_fast_matrix_any(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch) {
  matrix(KWS_RQ_ANY, p, in, out, scratch);
}
