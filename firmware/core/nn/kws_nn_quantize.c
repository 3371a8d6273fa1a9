/* QUANTIZE where one side has 16 bits or more (between 8 bits a table does it). Memory is read and written by memcpy,
 * which costs nothing: arenas are arrays of bytes. */
#include <string.h>

#include "kws_nn.h"
#include "kws_nn_math.h"

static int32_t rescaled(const kws_nn_quantize_t *p, int32_t value, int32_t low, int32_t high) {
  const int32_t scaled = kws_nn_requantize(value - p->in_zero_point, p->multiplier, p->shift);
  const int32_t out = (int32_t)((uint32_t)scaled + (uint32_t)p->out_zero_point);
  return out < low ? low : out > high ? high : out;
}

void kws_nn_quantize_int8_int16(const kws_nn_quantize_t *p, const void *in, void *out) {
  for (int32_t i = 0; i < p->size; i++) {
    const int16_t value = (int16_t)rescaled(p, ((const int8_t *)in)[i], INT16_MIN, INT16_MAX);
    memcpy((uint8_t *)out + 2 * i, &value, 2);
  }
}

void kws_nn_quantize_int16_int8(const kws_nn_quantize_t *p, const void *in, void *out) {
  for (int32_t i = 0; i < p->size; i++) {
    int16_t value;
    memcpy(&value, (const uint8_t *)in + 2 * i, 2);
    ((int8_t *)out)[i] = (int8_t)rescaled(p, value, INT8_MIN, INT8_MAX);
  }
}

void kws_nn_quantize_int16_int16(const kws_nn_quantize_t *p, const void *in, void *out) {
  for (int32_t i = 0; i < p->size; i++) {
    int16_t value;
    memcpy(&value, (const uint8_t *)in + 2 * i, 2);
    value = (int16_t)rescaled(p, value, INT16_MIN, INT16_MAX);
    memcpy((uint8_t *)out + 2 * i, &value, 2);
  }
}

void kws_nn_quantize_int8_int32(const kws_nn_quantize_t *p, const void *in, void *out) {
  for (int32_t i = 0; i < p->size; i++) {
    const int32_t value = rescaled(p, ((const int8_t *)in)[i], INT32_MIN, INT32_MAX);
    memcpy((uint8_t *)out + 4 * i, &value, 4);
  }
}

void kws_nn_quantize_int16_int32(const kws_nn_quantize_t *p, const void *in, void *out) {
  for (int32_t i = 0; i < p->size; i++) {
    int16_t narrow;
    memcpy(&narrow, (const uint8_t *)in + 2 * i, 2);
    const int32_t value = rescaled(p, narrow, INT32_MIN, INT32_MAX);
    memcpy((uint8_t *)out + 4 * i, &value, 4);
  }
}
