/* From int32 sums to int8 results, exactly as TensorFlow Lite Micro rounds (twice), in three or four instructions.
 *
 * The reference computes x = round(s * m / 2^31), halves up, then y = x / 2^n rounded, halves away from zero, then adds
 * the zero point z and limits. Here s is the sum, m the multiplier and n = -shift. With t = 2s (the packed weights and
 * biases are doubled, so t comes for free):
 *
 *   smmlar(t, m, c) = c + floor((2sm + 2^31) / 2^32) = c + floor((sm + 2^30) / 2^31) = c + x
 *
 * For x >= 0 rounding by n is (x + 2^(n-1)) >> n; for x < 0 it is (x - 1 + 2^(n-1)) >> n, n >= 1. The zero point is
 * a multiple of 2^n before the shift, so c = 2^(n-1) + (z << n).
 *   KWS_RQ_LINEAR takes the 1 by the sign of t: t < 0 gives x <= 0, and for x = 0 both forms give 0 when n >= 1.
 *   KWS_RQ_RELU leaves it out: it is used where the lower limit is at least z, which every x <= 0 ends at either way.
 * A sum that comes as t = 256s (kws_requantize256) needs no rounding before the shift: with n' = n + 7,
 *   y = floor((256sm + 2^(n+38) + 2^38 or -2^38) / 2^(n+39)) = (smmla(t, m, c) + (t < 0 ? -128 : 0)) >> n'
 * for c = 2^(n'-1) + 64 + (z << n'): 2^38 is what rounding up to x amounts to, and for x < 0 halves go the other way.
 * Both need limits of -128 and 127; KWS_RQ_ANY takes any shift and limits. The compiler (model_pipeline/compiler/fast)
 * proves that t and c + x fit 32 bits. */
#ifndef KWS_FAST_REQUANTIZE_H
#define KWS_FAST_REQUANTIZE_H

#include "../kws_nn_math.h"
#include "dsp.h"

enum { KWS_RQ_RELU = 0, KWS_RQ_LINEAR = 1, KWS_RQ_ANY = 2 };

/* One output channel. RELU and LINEAR: n = -shift, c as above; ANY: n = shift, c unused. */
typedef struct {
  int32_t m, c, n;
} kws_rq_t;

typedef struct {
  int32_t zero_point, act_min, act_max;
} kws_rq_limits_t;

KWS_INLINE int8_t kws_requantize(int kind, int32_t t, int32_t m, int32_t c, int32_t n, const kws_rq_limits_t *limits) {
  if (kind == KWS_RQ_RELU) return (int8_t)kws_ssat8(kws_smmlar(t, m, c) >> n);
  if (kind == KWS_RQ_LINEAR) return (int8_t)kws_ssat8(kws_smmlar(t, m, c + (t >> 31)) >> n);
  return kws_nn_output(t >> 1, m, n, limits->zero_point, limits->act_min, limits->act_max);
}

/* t is 256 times the sum; `any` takes it back. */
KWS_INLINE int8_t kws_requantize256(int kind, int32_t t, int32_t m, int32_t c, int32_t n,
                                    const kws_rq_limits_t *limits) {
  if (kind == KWS_RQ_RELU) return (int8_t)kws_ssat8(kws_smmla(t, m, c) >> n);
  if (kind == KWS_RQ_LINEAR) return (int8_t)kws_ssat8(kws_smmla(t, m, c + (t >> 31) * 128) >> n);
  return kws_nn_output(t >> 8, m, n, limits->zero_point, limits->act_min, limits->act_max);
}

#endif
