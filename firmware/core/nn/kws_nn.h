/* int8 kernels for compiled plans (model_pipeline/compiler emits the calls). Every result equals TensorFlow Lite
 * Micro's reference kernels bit for bit. Tensors are NHWC and dense. No kernel checks its parameters: the compiler
 * has proved that shapes agree, that no accumulator can overflow and that no pointer is null unless said so. */
#ifndef KWS_NN_H
#define KWS_NN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Multiplier m and shift s of a channel stand for m * 2^(s - 31). */

/* CONV_2D: weights [out_c][k_h][k_w][in_c / groups]; DEPTHWISE_CONV_2D: weights [k_h][k_w][out_c], output channel
 * c reads input channel c / (out_c / in_c). bias may be null. */
typedef struct {
  int32_t batches, in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t k_h, k_w, stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
  int32_t groups;
  int32_t in_zero_point, out_zero_point, act_min, act_max;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multiplier; /* [out_c] */
  const int8_t *shift;       /* [out_c] */
} kws_nn_conv_t;

void kws_nn_conv_2d(const kws_nn_conv_t *p, const int8_t *in, int8_t *out);
void kws_nn_depthwise_conv_2d(const kws_nn_conv_t *p, const int8_t *in, int8_t *out);

/* weights [out_c][in_c]; bias may be null. */
typedef struct {
  int32_t batches, in_c, out_c;
  int32_t in_zero_point, out_zero_point, act_min, act_max;
  const int8_t *weights;
  const int32_t *bias;
  const int32_t *multiplier; /* [out_c] */
  const int8_t *shift;       /* [out_c] */
} kws_nn_fully_connected_t;

void kws_nn_fully_connected(const kws_nn_fully_connected_t *p, const int8_t *in, int8_t *out);

typedef struct {
  int32_t batches, in_h, in_w, channels, out_h, out_w;
  int32_t k_h, k_w, stride_h, stride_w, pad_h, pad_w;
  int32_t act_min, act_max;
} kws_nn_pool_t;

void kws_nn_average_pool_2d(const kws_nn_pool_t *p, const int8_t *in, int8_t *out);
void kws_nn_max_pool_2d(const kws_nn_pool_t *p, const int8_t *in, int8_t *out);

/* The mean over two dimensions of four; input strides are in elements. Outputs are written densely in the order of
 * the kept dimensions. multiplier and shift hold the division by the number of elements. */
typedef struct {
  int32_t keep_n[2], keep_stride[2], reduce_n[2], reduce_stride[2];
  int32_t in_zero_point, out_zero_point, multiplier, shift;
} kws_nn_mean_t;

void kws_nn_mean(const kws_nn_mean_t *p, const int8_t *in, int8_t *out);

/* Element-wise with broadcasting: strides in elements, 0 along a broadcast dimension. An operand of the output's shape
 * may be its memory. */
typedef struct {
  int32_t dims[4], stride1[4], stride2[4];
  int32_t zero_point1, zero_point2, out_zero_point, act_min, act_max;
  int32_t multiplier1, shift1, multiplier2, shift2, out_multiplier, out_shift;
} kws_nn_add_t;

void kws_nn_add(const kws_nn_add_t *p, const int8_t *in1, const int8_t *in2, int8_t *out);
void kws_nn_sub(const kws_nn_add_t *p, const int8_t *in1, const int8_t *in2, int8_t *out);

typedef struct {
  int32_t dims[4], stride1[4], stride2[4];
  int32_t zero_point1, zero_point2, out_zero_point, act_min, act_max;
  int32_t multiplier, shift;
} kws_nn_mul_t;

void kws_nn_mul(const kws_nn_mul_t *p, const int8_t *in1, const int8_t *in2, int8_t *out);

/* RELU and QUANTIZE: a change of scale with limits; in and out may be the same memory. */
typedef struct {
  int32_t size, in_zero_point, out_zero_point, multiplier, shift, act_min, act_max;
} kws_nn_rescale_t;

void kws_nn_rescale(const kws_nn_rescale_t *p, const int8_t *in, int8_t *out);

/* RELU6: limits only; in and out may be the same memory. */
typedef struct {
  int32_t size, act_min, act_max;
} kws_nn_clamp_t;

void kws_nn_clamp(const kws_nn_clamp_t *p, const int8_t *in, int8_t *out);

/* Up to four dimensions; before + in + after = out in each. */
typedef struct {
  int32_t in_dims[4], before[4], after[4];
  int32_t value;
} kws_nn_pad_t;

void kws_nn_pad(const kws_nn_pad_t *p, const int8_t *in, int8_t *out);

/* Softmax over the last dimension; output scale 1/256, zero point -128. in and out may be the same memory. */
typedef struct {
  int32_t rows, depth;
  int32_t multiplier, left_shift; /* beta * scale in 5 integer and 26 fraction bits */
  int32_t diff_min;               /* below max + diff_min an element counts as zero */
} kws_nn_softmax_t;

void kws_nn_softmax(const kws_nn_softmax_t *p, const int8_t *in, int8_t *out);

void kws_nn_softmax_int16(const kws_nn_softmax_t *p, const int8_t *in, void *out); /* scale 1/65536, zero point -32768 */

/* A gate of an LSTM: weights [units][in_c], recurrent [units][units], bias [units]; both sums become Q3.12. */
typedef struct {
  const int8_t *weights, *recurrent;
  const int32_t *bias;
  int32_t multiplier, shift, recurrent_multiplier, recurrent_shift;
} kws_nn_lstm_gate_t;

/* UNIDIRECTIONAL_SEQUENCE_LSTM. *_batch and *_step: elements from one batch or instant to the next. hidden int8
 * [batches][units] and cells int16 [batches][units] keep their values from call to call. */
typedef struct {
  int32_t batches, steps, in_c, units, in_batch, in_step, out_batch, out_step;
  int32_t in_zero_point, hidden_zero_point;
  kws_nn_lstm_gate_t gates[4]; /* input, forget, cell, output */
  int32_t forget_multiplier, forget_shift, input_multiplier, input_shift, hidden_multiplier, hidden_shift;
  int32_t cell_clip; /* 0: none */
  int32_t tanh_multiplier, tanh_shift;
  const uint16_t *sigmoid; /* [256] 65536 / (1 + e^(-i / 24)) */
} kws_nn_lstm_t;

void kws_nn_lstm(const kws_nn_lstm_t *p, const int8_t *in, int8_t *hidden, void *cells, int8_t *out);

/* SVDF: features [units * rank][in_c], time [units * rank][memory] of the state's type, bias [units] or null. state
 * [batches][units * rank][memory] keeps its values from call to call, the newest last. scratch: int32 [units]. */
typedef struct {
  int32_t batches, in_c, units, rank, memory;
  int32_t in_zero_point, state_zero_point, out_zero_point;
  int32_t feature_multiplier, feature_shift, multiplier, shift;
  const int8_t *features;
  const void *time;
  const int32_t *bias;
} kws_nn_svdf_t;

void kws_nn_svdf8(const kws_nn_svdf_t *p, const int8_t *in, int8_t *state, int8_t *out, void *scratch);
void kws_nn_svdf16(const kws_nn_svdf_t *p, const int8_t *in, void *state, int8_t *out, void *scratch);

/* A ring of rows, laid out from the oldest to the newest: the newest `step` bytes come in, the oldest go. */
typedef struct {
  int32_t size, step; /* bytes; of a step larger than the ring only the end is kept */
} kws_nn_push_t;

void kws_nn_push(const kws_nn_push_t *p, const void *in, void *ring);

/* CONCATENATION and SPLIT: `outer` times, `bytes[k]` bytes of part k. */
typedef struct {
  int32_t count, outer;
  const int32_t *bytes; /* [count] */
} kws_nn_parts_t;

void kws_nn_concatenation(const kws_nn_parts_t *p, const void *const *in, void *out);
void kws_nn_split(const kws_nn_parts_t *p, const void *in, void *const *out);

/* STRIDED_SLICE, TRANSPOSE and plain copies: runs of `run` bytes from byte `start` on, written densely. */
typedef struct {
  int32_t count[5], step[5]; /* step in bytes, may be negative */
  int32_t run, start;
} kws_nn_strided_copy_t;

void kws_nn_strided_copy(const kws_nn_strided_copy_t *p, const void *in, void *out);

/* Any function of one byte; in and out may be the same memory. The table is indexed by the byte taken as unsigned. */
typedef struct {
  int32_t size;
  const uint8_t *table; /* [256] */
} kws_nn_lookup_t;

void kws_nn_lookup(const kws_nn_lookup_t *p, const void *in, void *out);

/* QUANTIZE from or to 16 or 32 bits. */
typedef struct {
  int32_t size, in_zero_point, out_zero_point, multiplier, shift;
} kws_nn_quantize_t;

void kws_nn_quantize_int8_int16(const kws_nn_quantize_t *p, const void *in, void *out);
void kws_nn_quantize_int16_int8(const kws_nn_quantize_t *p, const void *in, void *out);
void kws_nn_quantize_int16_int16(const kws_nn_quantize_t *p, const void *in, void *out);
void kws_nn_quantize_int8_int32(const kws_nn_quantize_t *p, const void *in, void *out);
void kws_nn_quantize_int16_int32(const kws_nn_quantize_t *p, const void *in, void *out);

/* DEQUANTIZE int8, uint8 or int16 to float. */
typedef struct {
  int32_t size, in_bytes, is_signed, zero_point;
  uint32_t scale_bits; /* float32, as its bits */
} kws_nn_dequantize_t;

void kws_nn_dequantize(const kws_nn_dequantize_t *p, const void *in, void *out);

#ifdef __cplusplus
}
#endif
#endif
