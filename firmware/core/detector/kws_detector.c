#include "kws_detector.h"

#include <string.h>

/* round(20 * log((p + 0.5) / (255.5 - p))) */
static const int8_t LOGIT[256] = {
    -125, -103, -92, -86, -80, -76, -73, -70, -67, -65, -63, -61, -59, -58, -56, -55, -54, -52, -51, -50, -49, -48,
    -47,  -46,  -45, -44, -43, -42, -42, -41, -40, -39, -39, -38, -37, -37, -36, -35, -35, -34, -33, -33, -32, -32,
    -31,  -31,  -30, -30, -29, -29, -28, -28, -27, -27, -26, -26, -25, -25, -24, -24, -23, -23, -23, -22, -22, -21,
    -21,  -21,  -20, -20, -19, -19, -19, -18, -18, -17, -17, -17, -16, -16, -16, -15, -15, -15, -14, -14, -13, -13,
    -13,  -12,  -12, -12, -11, -11, -11, -10, -10, -10, -9,  -9,  -9,  -8,  -8,  -8,  -7,  -7,  -7,  -6,  -6,  -6,
    -6,   -5,   -5,  -5,  -4,  -4,  -4,  -3,  -3,  -3,  -2,  -2,  -2,  -1,  -1,  -1,  0,   0,   0,   0,   1,   1,
    1,    2,    2,   2,   3,   3,   3,   4,   4,   4,   5,   5,   5,   6,   6,   6,   6,   7,   7,   7,   8,   8,
    8,    9,    9,   9,   10,  10,  10,  11,  11,  11,  12,  12,  12,  13,  13,  13,  14,  14,  15,  15,  15,  16,
    16,   16,   17,  17,  17,  18,  18,  19,  19,  19,  20,  20,  21,  21,  21,  22,  22,  23,  23,  23,  24,  24,
    25,   25,   26,  26,  27,  27,  28,  28,  29,  29,  30,  30,  31,  31,  32,  32,  33,  33,  34,  35,  35,  36,
    37,   37,   38,  39,  39,  40,  41,  42,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51,  52,  54,  55,  56,
    58,   59,   61,  63,  65,  67,  70,  73,  76,  80,  86,  92,  103, 125};

int8_t kws_look_logit(uint8_t posterior) { return LOGIT[posterior]; }

static int is_look(const kws_look_t *look, uint8_t num_labels) {
  const int32_t most = 1 << 24; /* no sum leaves 32 bits: 32 * 5 inputs of 127 by 128, 32 hidden units of 255 by 128 */
  if (look->steps < 1 || look->steps > KWS_DET_MAX_WINDOW || look->frames < 1 || num_labels < 3) return 0;
  if (look->hidden < 1 || look->hidden > KWS_LOOK_MAX_HIDDEN || look->shift > 24 || look->out_shift > 24) return 0;
  if (look->out_bias > most || look->out_bias < -most) return 0;
  for (uint8_t h = 0; h < look->hidden; h++) {
    if (look->bias[h] > most || look->bias[h] < -most) return 0;
  }
  return 1;
}

int kws_detector_init(kws_detector_t *d, const kws_detector_config_t *config) {
  if (config->num_labels < 1 || config->num_labels > KWS_DET_MAX_LABELS) return -1;
  if (config->window < 1 || config->window > KWS_DET_MAX_WINDOW || config->min_count < 1) return -1;
  if (config->rest >= config->window) return -1;
  if (config->refractory_samples > KWS_LIMIT_REFRACTORY_SAMPLES) return -1;
  if (config->look && !is_look(config->look, config->num_labels)) return -1;
  d->config = *config;
  kws_detector_reset(d);
  return 0;
}

void kws_detector_reset(kws_detector_t *d) {
  memset(d->history, 0, sizeof d->history);
  memset(d->sum, 0, sizeof d->sum);
  d->filled = d->newest = d->run_label = d->run_count = 0;
  d->armed = 1;
  d->last_fire = 0;
  if (!d->config.look) return;
  /* What was before is taken for silence. */
  const uint8_t silence = (uint8_t)(d->config.num_labels - 1);
  for (uint8_t i = 0; i < KWS_DET_MAX_WINDOW; i++) d->history[i][silence] = UINT8_MAX;
  d->sum[silence] = (uint16_t)(UINT8_MAX * d->config.window);
}

/* Where the result lies that came `age` results before the newest. */
static uint8_t place(const kws_detector_t *d, uint8_t age) {
  return (uint8_t)(age <= d->newest ? d->newest - age : KWS_DET_MAX_WINDOW + d->newest - age);
}

/* Floors, as >> of a negative number does with every compiler that we know; C leaves it open. */
static int32_t shifted(int32_t value, uint8_t by) { return value >= 0 ? value >> by : ~(~value >> by); }

static uint8_t look_again(const kws_detector_t *d, uint8_t label) {
  const kws_look_t *const look = d->config.look;
  const uint8_t unknown = (uint8_t)(d->config.num_labels - 2), silence = (uint8_t)(unknown + 1);
  int8_t inputs[KWS_DET_MAX_WINDOW * KWS_LOOK_INPUTS], *x = inputs;
  uint8_t loudest = 0;
  for (uint8_t age = 0; age < look->steps; age++) {
    const uint8_t level = d->level[place(d, age)];
    if (level > loudest) loudest = level;
  }
  for (uint8_t age = 0; age < look->steps; age++) {
    const uint8_t *const p = d->history[place(d, age)];
    const int below = loudest - d->level[place(d, age)];
    const int rest = UINT8_MAX - p[label] - p[unknown] - p[silence];
    *x++ = LOGIT[p[label]];
    *x++ = LOGIT[p[unknown]];
    *x++ = LOGIT[p[silence]];
    *x++ = LOGIT[rest > 0 ? rest : 0];
    *x++ = (int8_t)(below < INT8_MAX ? -below : -INT8_MAX);
  }
  const uint16_t count = (uint16_t)(x - inputs);
  const int8_t *w = look->weights;
  int32_t answer = look->out_bias;
  for (uint8_t h = 0; h < look->hidden; h++) {
    int32_t sum = look->bias[h];
    for (uint16_t i = 0; i < count; i++) sum += inputs[i] * *w++;
    sum = shifted(sum, look->shift);
    if (sum > 0) answer += look->out[h] * (sum < 255 ? sum : 255);
  }
  answer = shifted(answer, look->out_shift);
  uint16_t low = 0, high = UINT8_MAX; /* the lowest posterior with at least this logit */
  while (low < high) {
    const uint16_t middle = (uint16_t)((low + high) / 2);
    if (LOGIT[middle] >= answer) {
      high = middle;
    } else {
      low = (uint16_t)(middle + 1);
    }
  }
  return (uint8_t)low;
}

int kws_detector_step(kws_detector_t *d, const uint8_t *posteriors, uint8_t level, uint32_t sample_position,
                      kws_detection_t *out) {
  const kws_detector_config_t *c = &d->config;
  d->newest = (uint8_t)(d->newest + 1u == KWS_DET_MAX_WINDOW ? 0 : d->newest + 1u);
  uint8_t *const slot = d->history[d->newest];
  const uint8_t *const old =
      d->history[place(d, c->window)]; /* leaves the sums; of the longest window that is slot itself */
  uint8_t top = 0;
  for (uint8_t i = 0; i < c->num_labels; i++) {
    const uint8_t p = posteriors[i];
    d->sum[i] = (uint16_t)(d->sum[i] - old[i] + p);
    slot[i] = p;
    if (c->look && c->threshold[i] == 0) continue;
    /* Of equals the first. */
    if (d->sum[i] > d->sum[top] || (c->look && c->threshold[top] == 0)) top = i;
  }
  if (d->filled == 0) memset(d->level, level, sizeof d->level); /* before the first it was as loud */
  d->level[d->newest] = level;
  if (d->filled < c->window) d->filled++;
  if (d->filled < c->window) return 0; /* no mean yet */

  if (!d->armed && sample_position - d->last_fire >= c->refractory_samples) d->armed = 1;
  if (!d->armed || c->threshold[top] == 0) {
    d->run_count = 0;
    return 0;
  }
  uint16_t sum = d->sum[top];
  if (c->look) sum = sum < KWS_LOOK_LEAST * c->window ? 0 : (uint16_t)(look_again(d, top) * c->window);
  if (sum < c->threshold[top] * c->window + c->rest) {
    d->run_count = 0;
    return 0;
  }
  if (d->run_count == 0 || d->run_label != top) {
    d->run_label = top;
    d->run_count = 0;
  }
  if (d->run_count < UINT8_MAX) d->run_count++;
  if (d->run_count < c->min_count) return 0;

  d->run_count = 0;
  d->armed = 0;
  d->last_fire = sample_position;
  out->sample_position = sample_position;
  out->label = top;
  out->score = (uint8_t)(sum / c->window);
  return 1;
}
