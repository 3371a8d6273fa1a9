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

/* A second look: a network of two layers that decides on a word by how the results came about, as far back as `steps` of
 * them, and by how loud it was. A word that is said for itself comes and goes otherwise than one that is like it amid
 * speech. Learnt by `kws look`; constant, and kept by the caller. All in fixed point. Each result gives five inputs: the
 * logits (kws_look_logit) of the word, of unknown, of silence (the last two labels) and of all others together; and how far
 * its level lies below the highest of them all, at most 127. Hidden unit h is (bias[h] + sum of weights * inputs) >> shift,
 * within 0..255; the answer's logit is (out_bias + sum of out * hidden) >> out_shift. */
#define KWS_LOOK_INPUTS 5u
#define KWS_LOOK_MAX_HIDDEN 32u
#define KWS_LOOK_LEAST 8u /* a word whose smoothed posterior is lower is not looked at: its answer is 0 */
typedef struct {
  uint8_t steps;     /* 1..KWS_DET_MAX_WINDOW results, the newest first */
  uint8_t hidden;    /* 1..KWS_LOOK_MAX_HIDDEN */
  uint8_t shift;     /* 0..24 */
  uint8_t out_shift; /* 0..24 */
  uint8_t frames;    /* >= 1: a result's level is that of this many newest frames (see kws_detector_step) */
  int32_t out_bias;
  const int8_t *weights; /* [hidden][steps][KWS_LOOK_INPUTS] */
  const int32_t *bias;   /* [hidden], at most 2^24 either way, as out_bias */
  const int8_t *out;     /* [hidden] */
} kws_look_t;

typedef struct {
  uint8_t num_labels;          /* 1..KWS_DET_MAX_LABELS; labels 0.. in the model's order */
  uint8_t window;              /* results averaged, 1..KWS_DET_MAX_WINDOW */
  uint8_t min_count;           /* consecutive smoothed results of one label at or above its threshold, >= 1 */
  uint8_t rest;                /* of the thresholds, in 1/window of a step: a sum of window results is compared */
  uint32_t refractory_samples; /* after a detection nothing fires for so long; at most KWS_LIMIT_REFRACTORY_SAMPLES */
  /* Smoothed posterior (0..255, 255 = 1.0 - 1/256; and `rest`) at which a label fires; 0: the label never fires
   * (unknown and silence). */
  uint8_t threshold[KWS_DET_MAX_LABELS];
  /* NULL: thresholds are of the smoothed posterior. Else of what the second look answers for the keyword with the highest
   * one; nothing fires by itself then, as unknown is among what it looks at. */
  const kws_look_t *look;
} kws_detector_config_t;

typedef struct {
  kws_detector_config_t config;
  uint8_t history[KWS_DET_MAX_WINDOW][KWS_DET_MAX_LABELS];
  uint8_t level[KWS_DET_MAX_WINDOW];
  uint16_t sum[KWS_DET_MAX_LABELS];
  uint8_t filled, newest; /* newest: of history */
  uint8_t run_label, run_count;
  uint8_t armed;      /* 0 while refractory */
  uint32_t last_fire; /* sample position of the last detection */
} kws_detector_t;

typedef struct {
  uint32_t sample_position; /* end of the window whose result fired */
  uint8_t label;
  uint8_t score; /* smoothed posterior, or the second look's answer, 0..255 */
} kws_detection_t;

/* 0, or -1 if a field is out of its range (nothing is changed then). */
int kws_detector_init(kws_detector_t *d, const kws_detector_config_t *config);
void kws_detector_reset(kws_detector_t *d);
/* posteriors: num_labels of them, 0..255 in steps of 1/256. level: for a second look, the mean of the newest `frames`
 * frames of the network's input, plus 128, rounded down; of no matter without one. sample_position: samples since stream start at the end of the
 * window (wraps at 2^32). Returns 1 and fills *out when a keyword fires. */
int kws_detector_step(kws_detector_t *d, const uint8_t *posteriors, uint8_t level, uint32_t sample_position,
                      kws_detection_t *out);

/* The logit of a posterior p/256, in steps of 1/20, -125..125. */
int8_t kws_look_logit(uint8_t posterior);

#ifdef __cplusplus
}
#endif
#endif
