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

/* Matrix product of weights [out_c][k] and positions [positions][k]. The k of a position are taken four by four in the
 * order 0 2 1 3 (that of SXTB16); `pairs` is how many pairs they make, an even number. `packed`, for each pair of output
 * channels (the last one of an odd number is paired with zeros):
 *
 *   matrix16, for speed: weights as int16, doubled
 *     2 words    doubled biases, with the input's zero point folded in
 *     2 * pairs  for each pair of k: a word of the even channel's weights, then one of the odd channel's
 *     6 words    m, c, n of the even, then of the odd channel
 *   matrix8, for size: both channels' weights in one word
 *     2 words    256 * the odd channel's bias + the even one's; the even one's
 *     pairs      for each pair of k: lanes of 256 * the odd channel's weight + the even one's
 *     6 words    m, c, n as before, but for the odd channel those of a sum times 256 (kws_requantize256) */
typedef struct {
  int32_t positions, k, pairs, out_c;
  int32_t in_step; /* bytes from a position's first value to the next one's */
  kws_rq_limits_t limits;
  const int32_t *packed;
} kws_fast_matrix_t;

/* kws_fast_<kernel>_<kind> */
#define KWS_FAST_KINDS(type, kernel)                                                                        \
  void kws_fast_##kernel##_relu(const type *p, const int8_t *in, int8_t *out, int8_t *scratch);             \
  void kws_fast_##kernel##_linear(const type *p, const int8_t *in, int8_t *out, int8_t *scratch);           \
  void kws_fast_##kernel##_any(const type *p, const int8_t *in, int8_t *out, int8_t *scratch);

/* Scratch: 4 * pairs bytes for each of at most three positions. CONV_2D whose windows are runs of k values (1x1 above all),
 * FULLY_CONNECTED. `in` and `out` may begin at the same place if out_c <= in_step and k <= in_step. */
KWS_FAST_KINDS(kws_fast_matrix_t, matrix16)
KWS_FAST_KINDS(kws_fast_matrix_t, matrix8)

/* CONV_2D with any window (dilation 1), or DEPTHWISE_CONV_2D of one input channel. A band of `band` output rows is done
 * at a time: its (band - 1) * stride_h + k_h input rows are held as int16 with their padding, `row` values each.
 * `packed` as above, with pairs of neighbouring k: each of the k_h rows of a window gives `run_words` pairs. */
typedef struct {
  kws_fast_matrix_t matrix; /* positions, k and in_step are unused */
  int32_t batches, in_h, in_line, out_h, out_w; /* in_line = width * channels */
  int32_t k_h, stride_h, pad_h, band;
  int32_t row, row_pad; /* int16 values of a row (even) and of its padding in front */
  int32_t run_words;
  int32_t step; /* int16 values between two windows of a row */
  int32_t in_zero_point;
} kws_fast_conv_t;

/* Scratch: 12 * pairs bytes, then the rows. */
KWS_FAST_KINDS(kws_fast_conv_t, conv16)
KWS_FAST_KINDS(kws_fast_conv_t, conv8)

/* DEPTHWISE_CONV_2D with as many outputs as inputs, at least four channels, any stride, padding and dilation.
 * `packed`, for each four channels (the last four overlap those before where channels is not a multiple of four):
 *   4 words  biases
 *   4 words  for each pair of taps: the pair's weights for channels 0, 2, 1, 3, doubled
 *   12 words m, c, n of channels 0, 2, 1, 3
 * An odd number of taps ends with a tap of weight zero. */
typedef struct {
  int32_t batches, in_h, in_w, channels, out_h, out_w;
  int32_t k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
  int32_t in_zero_point;
  kws_rq_limits_t limits;
  const int32_t *packed;
} kws_fast_depthwise_t;

/* Scratch: 4 bytes for each tap (an even number of them), then `channels` bytes. `in` and `out` may begin at the same
 * place if there is no padding and channels is a multiple of four. */
KWS_FAST_KINDS(kws_fast_depthwise_t, depthwise)

/* DEPTHWISE_CONV_2D with as many outputs as inputs, a multiple of four channels, no dilation: a window of 3x3 or (x5) of
 * any height and four to six columns, with stride 1 or 2 along a row, or (line) of one row, with stride 1 and no padding.
 * `band` output rows are done at a time, of which
 * (band - 1) * stride_h + k_h input rows are held, `words` pairs of columns each. `packed`, for each four channels:
 *   16 words  doubled bias, m, c, n of each channel
 *   a word for each tap: the weights of the four channels, int8 */
typedef struct {
  int32_t in_h, in_w, channels, out_h, out_w;
  int32_t k_h, k_w, stride_h, pad_h, pad_w, band, words;
  uint32_t padding; /* four zero points */
  kws_rq_limits_t limits;
  const int32_t *packed;
} kws_fast_planes_t;

/* planes_<window>_s<stride>_g<outputs at a time>. There are at least as many outputs in a row; with stride 1 their number
 * less that of a row is even, except for a line, whose window has at least two taps. x5: four or five columns with stride
 * 1, five or six with stride 2. Scratch: 16 bytes for each word of the rows held, then for each channel of four the words
 * of kws_planes_words(). `in` and `out` may begin at the same place if out_h * out_w <= in_h * in_w. */
KWS_FAST_KINDS(kws_fast_planes_t, planes_3x3_s1_g5)
KWS_FAST_KINDS(kws_fast_planes_t, planes_3x3_s1_g6)
KWS_FAST_KINDS(kws_fast_planes_t, planes_3x3_s2_g4)
KWS_FAST_KINDS(kws_fast_planes_t, planes_x5_s1_g5)
KWS_FAST_KINDS(kws_fast_planes_t, planes_x5_s2_g4)
KWS_FAST_KINDS(kws_fast_planes_t, planes_line_s1_g6)

/* ADD of two tensors of one shape: (c + ((a * (x << 8)) >> 16) + ((b * (y << 8)) >> 16)) >> 20, limited to int8. The
 * compiler has tried all 65536 pairs (x, y) and found this equal to the reference. Any of the three may be one memory. */
typedef struct {
  int32_t size, a, b, c;
} kws_fast_add_t;

void kws_fast_add(const kws_fast_add_t *p, const int8_t *in1, const int8_t *in2, int8_t *out);

/* AVERAGE_POOL_2D without padding, of at most 255 values, and a multiple of four channels. */
void kws_fast_average_pool(const kws_nn_pool_t *p, const int8_t *in, int8_t *out);

#ifdef __cplusplus
}
#endif
#endif
