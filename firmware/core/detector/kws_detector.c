#include "kws_detector.h"

#include <string.h>

int kws_detector_init(kws_detector_t *d, const kws_detector_config_t *config) {
  if (config->num_labels < 1 || config->num_labels > KWS_DET_MAX_LABELS) return -1;
  if (config->window < 1 || config->window > KWS_DET_MAX_WINDOW || config->min_count < 1) return -1;
  if (config->rest >= config->window) return -1;
  if (config->refractory_samples > KWS_LIMIT_REFRACTORY_SAMPLES) return -1;
  d->config = *config;
  kws_detector_reset(d);
  return 0;
}

void kws_detector_reset(kws_detector_t *d) {
  memset(d->history, 0, sizeof d->history);
  memset(d->sum, 0, sizeof d->sum);
  d->filled = d->next = d->run_label = d->run_count = 0;
  d->armed = 1;
  d->last_fire = 0;
}

int kws_detector_step(kws_detector_t *d, const uint8_t *posteriors, uint32_t sample_position, kws_detection_t *out) {
  const kws_detector_config_t *c = &d->config;
  uint8_t *slot = d->history[d->next];
  uint8_t top = 0;
  for (uint8_t i = 0; i < c->num_labels; i++) {
    const uint8_t p = posteriors[i];
    d->sum[i] = (uint16_t)(d->sum[i] - slot[i] + p);
    slot[i] = p;
    if (d->sum[i] > d->sum[top]) top = i; /* of equals the first */
  }
  d->next = (uint8_t)(d->next + 1 == c->window ? 0 : d->next + 1);
  if (d->filled < c->window) d->filled++;
  if (d->filled < c->window) return 0; /* no mean yet */

  if (!d->armed && sample_position - d->last_fire >= c->refractory_samples) d->armed = 1;
  if (!d->armed || c->threshold[top] == 0 || d->sum[top] < c->threshold[top] * c->window + c->rest) {
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
  out->score = (uint8_t)(d->sum[top] / c->window);
  return 1;
}
