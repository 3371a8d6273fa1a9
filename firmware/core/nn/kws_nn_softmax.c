/* Softmax in fixed point, step for step as TensorFlow Lite's int8 reference does it with gemmlowp's functions.
 * Qn.m below is a signed 32-bit number with n integer and m = 31 - n fraction bits. */
#include <string.h>

#include "kws_nn.h"
#include "kws_nn_math.h"

enum { SUM_INTEGER_BITS = 12 };

/* a * 2^n for n > 0, saturating. */
static int32_t saturating_shift_left(int32_t a, int32_t n) {
  const int32_t limit = (int32_t)((UINT32_C(1) << (31 - n)) - 1u);
  if (a > limit) return INT32_MAX;
  if (a < -limit) return INT32_MIN;
  return (int32_t)((uint32_t)a << n);
}

/* (a * b) in the format whose integer bits are the sum of theirs. INT32_MIN squared saturates. */
static int32_t mul(int32_t a, int32_t b) {
  return a == INT32_MIN && b == INT32_MIN ? INT32_MAX : kws_nn_mul_high(a, b);
}

/* e^a for a in [-1/4, 0), Q0 to Q0: a Taylor series of four terms around -1/8. */
static int32_t exp_small(int32_t a) {
  const int32_t exp_minus_eighth = 1895147668, third = 715827883;
  const int32_t x = a + (1 << 28);
  const int32_t x2 = mul(x, x);
  const int32_t x3 = mul(x2, x);
  const int32_t x4 = mul(x2, x2);
  const int32_t tail = kws_nn_round_shift(mul(kws_nn_round_shift(x4, 2) + x3, third) + x2, 1);
  return exp_minus_eighth + mul(exp_minus_eighth, x + tail);
}

/* e^a for a <= 0, Q5 to Q0. */
static int32_t exp_negative(int32_t a) {
  /* e^-(2^i / 4) for i = 0.., Q0 */
  static const int32_t factor[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  const int32_t quarter = 1 << 24;
  if (a == 0) return INT32_MAX;
  const int32_t small = (a & (quarter - 1)) - quarter;
  int32_t result = exp_small(saturating_shift_left(small, 5));
  const int32_t rest = small - a;
  for (int32_t i = 0; i < 7; i++) {
    if (rest & (quarter << i)) result = mul(result, factor[i]);
  }
  return result;
}

/* 1 / (1 + a) for a in [0, 1), Q0 to Q0: three steps of Newton and Raphson. */
static int32_t reciprocal_one_plus(int32_t a) {
  const int32_t c48_over_17 = 1515870810, minus_32_over_17 = -1010580540; /* Q2 */
  const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
  int32_t x = c48_over_17 + mul(half, minus_32_over_17);
  for (int i = 0; i < 3; i++) {
    const int32_t error = (1 << 29) - mul(half, x);
    x += saturating_shift_left(mul(x, error), 2);
  }
  return saturating_shift_left(x, 1);
}

static int32_t scaled(const kws_nn_softmax_t *p, int32_t diff) {
  return kws_nn_mul_high(diff * (1 << p->left_shift), p->multiplier);
}

/* `bits` of the output: 8 or 16. */
static inline void softmax_row(const kws_nn_softmax_t *p, const int8_t *in, void *out, int32_t bits) {
  int32_t max = in[0];
  for (int32_t c = 1; c < p->depth; c++) max = in[c] > max ? in[c] : max;
  int32_t sum = 0; /* Q12 */
  for (int32_t c = 0; c < p->depth; c++) {
    if (in[c] - max >= p->diff_min) sum += kws_nn_round_shift(exp_negative(scaled(p, in[c] - max)), SUM_INTEGER_BITS);
  }
  const int32_t zeros = __builtin_clz((uint32_t)sum);
  const int32_t factor = reciprocal_one_plus((int32_t)(((uint32_t)sum << zeros) - (UINT32_C(1) << 31)));
  const int32_t shift = SUM_INTEGER_BITS - zeros + 31 - bits;
  const int32_t low = -(1 << (bits - 1)), high = (1 << (bits - 1)) - 1;
  for (int32_t c = 0; c < p->depth; c++) {
    int32_t value = low;
    if (in[c] - max >= p->diff_min) {
      value += kws_nn_round_shift(mul(factor, exp_negative(scaled(p, in[c] - max))), shift);
      value = value < low ? low : value > high ? high : value;
    }
    if (bits == 8) {
      ((int8_t *)out)[c] = (int8_t)value;
    } else {
      const int16_t wide = (int16_t)value;
      memcpy((uint8_t *)out + 2 * c, &wide, 2);
    }
  }
}

void kws_nn_softmax(const kws_nn_softmax_t *p, const int8_t *in, int8_t *out) {
  for (int32_t r = 0; r < p->rows; r++) softmax_row(p, in + r * p->depth, out + r * p->depth, 8);
}

void kws_nn_softmax_int16(const kws_nn_softmax_t *p, const int8_t *in, void *out) {
  for (int32_t r = 0; r < p->rows; r++) softmax_row(p, in + r * p->depth, (uint8_t *)out + 2 * r * p->depth, 16);
}
