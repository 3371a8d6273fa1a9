/* Fixed-point arithmetic shared by the kernels; rounding as in gemmlowp's fixedpoint.h, which TensorFlow Lite uses. */
#ifndef KWS_NN_MATH_H
#define KWS_NN_MATH_H

#include <stdint.h>

/* (a * b * 2) >> 32, rounded to nearest, halves up; b is a multiplier, never INT32_MIN. The reference truncates
 * after a nudge that depends on the sign, which comes to the same. */
static inline int32_t kws_nn_mul_high(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* a / 2^n, rounded to nearest, halves away from zero; 0 <= n <= 31. */
static inline int32_t kws_nn_round_shift(int32_t a, int32_t n) {
  const int32_t mask = (int32_t)((UINT32_C(1) << n) - 1u);
  const int32_t threshold = (mask >> 1) + (a < 0 ? 1 : 0);
  return (a >> n) + ((a & mask) > threshold ? 1 : 0);
}

/* a * multiplier * 2^(shift - 31), rounded twice. A left shift wraps as it does in the reference. */
static inline int32_t kws_nn_requantize(int32_t a, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  const int32_t scaled = (int32_t)((uint32_t)a << left);
  return kws_nn_round_shift(kws_nn_mul_high(scaled, multiplier), right);
}

static inline int8_t kws_nn_limit(int32_t value, int32_t low, int32_t high) {
  return (int8_t)(value < low ? low : value > high ? high : value);
}

/* The last step of a kernel with an int32 accumulator. The sum wraps rather than being undefined. */
static inline int8_t kws_nn_output(int32_t acc, int32_t multiplier, int32_t shift, int32_t zero_point, int32_t low,
                                   int32_t high) {
  const uint32_t value = (uint32_t)kws_nn_requantize(acc, multiplier, shift) + (uint32_t)zero_point;
  return kws_nn_limit((int32_t)value, low, high);
}

#endif
