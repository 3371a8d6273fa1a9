/* SVDF: each filter keeps its last results and weights them along time; a unit is the sum of `rank` filters.
 * P. Nakkiran et al., "Compressing deep neural networks using a rank-constrained topology" (2015). */
#include <string.h>

#include "kws_nn.h"
#include "kws_nn_dot.h"
#include "kws_nn_math.h"

static int32_t filter_result(const kws_nn_svdf_t *p, const int8_t *in, int32_t filter) {
  const int32_t sum = kws_nn_dot(in, p->features + filter * p->in_c, p->in_c, p->in_zero_point);
  return kws_nn_requantize(sum, p->feature_multiplier, p->feature_shift);
}

static void outputs(const kws_nn_svdf_t *p, const int32_t *sums, int8_t *out) {
  for (int32_t unit = 0; unit < p->units; unit++) {
    out[unit] = kws_nn_output(sums[unit], p->multiplier, p->shift, p->out_zero_point, INT8_MIN, INT8_MAX);
  }
}

void kws_nn_svdf8(const kws_nn_svdf_t *p, const int8_t *in, int8_t *state, int8_t *out, void *scratch) {
  const int8_t *time = p->time;
  int32_t *sums = scratch;
  const int32_t filters = p->units * p->rank;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_c, state += filters * p->memory, out += p->units) {
    for (int32_t f = 0; f < filters; f++) {
      int8_t *row = state + f * p->memory;
      memmove(row, row + 1, (size_t)p->memory - 1);
      /* The zero point is added after the limits, and may wrap. */
      const int32_t result = kws_nn_limit(filter_result(p, in, f), INT8_MIN, INT8_MAX) + p->state_zero_point;
      row[p->memory - 1] = (int8_t)(uint8_t)result;
      if (f % p->rank == 0) sums[f / p->rank] = p->bias ? p->bias[f / p->rank] : 0;
      sums[f / p->rank] += kws_nn_dot(row, time + f * p->memory, p->memory, p->state_zero_point);
    }
    outputs(p, sums, out);
  }
}

void kws_nn_svdf16(const kws_nn_svdf_t *p, const int8_t *in, void *state_memory, int8_t *out, void *scratch) {
  const int16_t *time = p->time;
  uint8_t *state = state_memory;
  int32_t *sums = scratch;
  const int32_t filters = p->units * p->rank;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_c, state += 2 * filters * p->memory, out += p->units) {
    for (int32_t f = 0; f < filters; f++) {
      uint8_t *row = state + 2 * f * p->memory;
      memmove(row, row + 2, 2 * ((size_t)p->memory - 1));
      int32_t result = filter_result(p, in, f);
      result = result < INT16_MIN ? INT16_MIN : result > INT16_MAX ? INT16_MAX : result;
      const int16_t newest = (int16_t)(uint16_t)(result + p->state_zero_point);
      memcpy(row + 2 * (p->memory - 1), &newest, 2);
      uint32_t sum = f % p->rank ? (uint32_t)sums[f / p->rank] : p->bias ? (uint32_t)p->bias[f / p->rank] : 0u;
      for (int32_t i = 0; i < p->memory; i++) {
        int16_t value;
        memcpy(&value, row + 2 * i, 2);
        sum += (uint32_t)(time[f * p->memory + i] * (value - p->state_zero_point));
      }
      sums[f / p->rank] = (int32_t)sum;
    }
    outputs(p, sums, out);
  }
}
