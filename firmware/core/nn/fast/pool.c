/* AVERAGE_POOL_2D, four channels at a time in two words of two sums. */
#include "kws_fast.h"

/* The mean, halves away from zero, as the reference computes it. */
KWS_INLINE int8_t mean(const kws_nn_pool_t *p, int32_t sum, int32_t count) {
  const int32_t value = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
  return (int8_t)(value < p->act_min ? p->act_min : value > p->act_max ? p->act_max : value);
}

void kws_fast_average_pool(const kws_nn_pool_t *p, const int8_t *in, int8_t *out) {
  const int32_t channels = p->channels, count = p->k_h * p->k_w;
  const int32_t line = p->in_w * channels;
  /* A window as wide as the input is one long row. */
  const int32_t k_w = p->k_w == p->in_w ? count : p->k_w, k_h = p->k_w == p->in_w ? 1 : p->k_h;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * line) {
    for (int32_t oy = 0; oy < p->out_h; oy++) {
      for (int32_t ox = 0; ox < p->out_w; ox++, out += channels) {
        const int8_t *window = in + oy * p->stride_h * line + ox * p->stride_w * channels;
        for (int32_t c = 0; c < channels; c += 4) {
          uint32_t even = 0, odd = 0;
          const int8_t *row = window + c;
          for (int32_t y = k_h; y; y--, row += line) {
            const int8_t *at = row;
            KWS_UNROLL
            for (int32_t x = k_w; x; x--, at += channels) {
              const uint32_t word = kws_load32(at);
              even = kws_sxtab16(even, word);
              odd = kws_sxtab16_ror8(odd, word);
            }
          }
          out[c] = mean(p, kws_lane0(even), count);
          out[c + 1] = mean(p, kws_lane0(odd), count);
          out[c + 2] = mean(p, kws_lane1(even), count);
          out[c + 3] = mean(p, kws_lane1(odd), count);
        }
      }
    }
  }
}
