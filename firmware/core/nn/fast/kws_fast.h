/* Kernels for cores with the DSP extension (Cortex-M4, M7, M33), chosen layer by layer at compile time
 * (model_pipeline/compiler/fast). Results equal those of kws_nn.h bit for bit. Constants come packed for the inner loop;
 * the layouts are described here and written by model_pipeline/compiler/fast/pack.py.
 *
 * Names end in the kind of requantisation: _relu, _linear or _any (requantize.h). */
#ifndef KWS_FAST_H
#define KWS_FAST_H

#include "../kws_nn.h"
#include "requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Matrix product of weights [out_c][k] and positions [positions][k].
 * `packed`, for each pair of output channels (the last one of an odd number is paired with zeros):
 *   2 words    doubled biases, with the input's zero point folded in
 *   2 * pairs  for each pair of k: a word of both weights of the even channel, then one of the odd channel; doubled
 *   6 words    m, c, n of the even, then of the odd channel
 * `pairs` is even. The k of a position are taken four by four in the order 0 2 1 3 (that of SXTB16). */
typedef struct {
  int32_t positions, k, pairs, out_c;
  int32_t in_step; /* bytes from a position's first value to the next one's */
  kws_rq_limits_t limits;
  const int32_t *packed;
} kws_fast_matrix_t;

/* Scratch: 12 * pairs bytes. CONV_2D whose windows are runs of k values (1x1 above all). `in` and `out` may be the same
 * memory if in_step = k = out_c. */
void kws_fast_matrix_relu(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch);
void kws_fast_matrix_linear(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch);
void kws_fast_matrix_any(const kws_fast_matrix_t *p, const int8_t *in, int8_t *out, int8_t *scratch);

#ifdef __cplusplus
}
#endif
#endif
