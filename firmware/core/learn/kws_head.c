#include "kws_head.h"

#include <stddef.h>

/* 2^-f for f in [0, 1) as a polynomial, 2^-30; off by less than 2e-6 (a Chebyshev fit of degree 4). */
#define C0 1073741824
#define C1 (-744157487)
#define C2 257095898
#define C3 (-57151877)
#define C4 7346532
#define LOG2_E 94548 /* 2^-16 */

int kws_head_init(kws_head_t *head, int32_t *weights, int32_t *bias, uint16_t inputs, uint8_t labels,
                  int8_t zero_point) {
  if (inputs == 0 || inputs > KWS_HEAD_INPUTS || labels == 0 || labels > KWS_HEAD_LABELS) { return -1; }
  head->weights = weights;
  head->bias = bias;
  head->inputs = inputs;
  head->labels = labels;
  head->zero_point = zero_point;
  return 0;
}

/* e^-d, d in 2^-16 and not negative; 2^-30. */
static uint32_t exp_minus(uint32_t d) {
  const uint64_t t = ((uint64_t)d * LOG2_E) >> 16;
  const uint32_t whole = t >> 16 > 31 ? 31u : (uint32_t)(t >> 16);
  const int64_t f = (int64_t)(t & 0xffff);
  int64_t y = C4;
  y = C3 + ((y * f) >> 16);
  y = C2 + ((y * f) >> 16);
  y = C1 + ((y * f) >> 16);
  y = C0 + ((y * f) >> 16);
  return (uint32_t)y >> whole;
}

void kws_head_run(const kws_head_t *head, const int8_t *features, uint32_t *probabilities) {
  int32_t logits[KWS_HEAD_LABELS];
  int32_t most = INT32_MIN;
  for (uint32_t i = 0; i < head->labels; i++) {
    const int32_t *row = head->weights + (size_t)i * head->inputs;
    int64_t sum = head->bias[i];
    for (uint32_t j = 0; j < head->inputs; j++) { sum += (int64_t)row[j] * (features[j] - head->zero_point); }
    sum >>= 8;
    /* Beyond 2^14 a softmax knows no difference. */
    const int32_t limit = INT32_C(1) << 30;
    logits[i] = sum > limit ? limit : sum < -limit ? -limit : (int32_t)sum;
    most = logits[i] > most ? logits[i] : most;
  }
  uint64_t total = 0;
  for (uint32_t i = 0; i < head->labels; i++) {
    probabilities[i] = exp_minus((uint32_t)most - (uint32_t)logits[i]);
    total += probabilities[i];
  }
  for (uint32_t i = 0; i < head->labels; i++) {
    probabilities[i] = (uint32_t)((((uint64_t)probabilities[i] << 16) + total / 2) / total);
  }
}

static int32_t less(int32_t value, int64_t by) {
  const int64_t difference = (int64_t)value - by;
  return difference > INT32_MAX ? INT32_MAX : difference < INT32_MIN ? INT32_MIN : (int32_t)difference;
}

int32_t kws_head_step(kws_head_t *head, const int8_t *features, uint8_t label, kws_head_rate_t rate) {
  uint32_t probabilities[KWS_HEAD_LABELS];
  if (label >= head->labels) { return -1; }
  kws_head_run(head, features, probabilities);
  for (uint32_t i = 0; i < head->labels; i++) {
    const int32_t slope = (int32_t)probabilities[i] - (i == label ? 65536 : 0);
    int32_t *row = head->weights + (size_t)i * head->inputs;
    /* |slope * x'| < 2^24, and a rate < 2^32: below 2^57. */
    const int64_t step = (int64_t)slope * rate.weights;
    for (uint32_t j = 0; j < head->inputs; j++) {
      row[j] = less(row[j], (step * (features[j] - head->zero_point) + (INT64_C(1) << 23)) >> 24);
    }
    head->bias[i] = less(head->bias[i], ((int64_t)slope * rate.bias + (INT64_C(1) << 15)) >> 16);
  }
  return (int32_t)probabilities[label];
}
