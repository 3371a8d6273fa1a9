/* Posterior smoothing and decision. Integer only, no heap; the same source on board and host. */
#ifndef KWS_DETECTOR_H
#define KWS_DETECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "kws_limits.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a state has room for; a build may lower them to its models'. */
#ifndef KWS_DET_MAX_LABELS
#define KWS_DET_MAX_LABELS KWS_LIMIT_LABELS
#endif
#ifndef KWS_DET_MAX_WINDOW
#define KWS_DET_MAX_WINDOW KWS_LIMIT_WINDOW
#endif

typedef struct {
  uint8_t num_labels;       /* 1..KWS_DET_MAX_LABELS; labels 0.. in the model's order */
  uint8_t window;           /* results averaged, 1..KWS_DET_MAX_WINDOW */
  uint8_t min_count;        /* consecutive smoothed results of one label at or above its threshold, >= 1 */
  uint8_t rest;             /* of the thresholds, in 1/window of a step: a sum of window results is compared */
  uint32_t refractory_samples; /* after a detection nothing fires for so long; at most KWS_LIMIT_REFRACTORY_SAMPLES */
  /* Smoothed posterior (0..255, 255 = 1.0 - 1/256; and `rest`) at which a label fires; 0: the label never fires
   * (unknown and silence). */
  uint8_t threshold[KWS_DET_MAX_LABELS];
} kws_detector_config_t;

typedef struct {
  kws_detector_config_t config;
  uint8_t history[KWS_DET_MAX_WINDOW][KWS_DET_MAX_LABELS];
  uint16_t sum[KWS_DET_MAX_LABELS];
  uint8_t filled, next;
  uint8_t run_label, run_count;
  uint8_t armed; /* 0 while refractory */
  uint32_t last_fire; /* sample position of the last detection */
} kws_detector_t;

typedef struct {
  uint32_t sample_position; /* end of the window whose result fired */
  uint8_t label;
  uint8_t score; /* smoothed posterior, 0..255 */
} kws_detection_t;

/* 0, or -1 if a field is out of its range (nothing is changed then). */
int kws_detector_init(kws_detector_t *d, const kws_detector_config_t *config);
void kws_detector_reset(kws_detector_t *d);
/* posteriors: num_labels of them, 0..255 in steps of 1/256. sample_position: samples since stream start at the end of the
 * window (wraps at 2^32). Returns 1 and fills *out when a keyword fires. */
int kws_detector_step(kws_detector_t *d, const uint8_t *posteriors, uint32_t sample_position, kws_detection_t *out);

#ifdef __cplusplus
}
#endif
#endif
