/* From samples to words: front end -> window of features -> network -> detector, for one or several models. Those with the
 * same front end share it; others hear with one of their own. No heap, and all state in the caller's memory: as many
 * streams as there is room for.
 *
 * Generated code gives a `kws_image_t` (what is listened for; constant) and the type of a state that has room for it,
 * which begins with a kws_stream_t. */
#ifndef KWS_STREAM_H
#define KWS_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "kws_detector.h"
#include "kws_frontend.h"

#ifdef __cplusplus
#define KWS_STREAM_ALIGNED alignas(8)
extern "C" {
#else
#define KWS_STREAM_ALIGNED _Alignas(8)
#endif

/* Runs a network. `memory` is its part of the caller's state. */
typedef struct {
  int8_t *(*input)(void *memory);        /* valid until invoke */
  int (*invoke)(void *memory);           /* 0, or an error of the engine: then there is no output */
  const int8_t *(*output)(void *memory); /* valid until the input is written again */
  void (*reset)(void *memory);           /* forgets all that went before */
} kws_network_t;

enum { KWS_ROLE_WORDS = 0, KWS_ROLE_VOICE = 1 };

typedef struct {
  const char *name;
  const char *const *labels; /* num_labels of them */
  const kws_network_t *network;
  uint16_t num_labels;
  uint16_t window_frames; /* feature frames until the first result */
  uint16_t step_frames;   /* 0: an invoke takes the whole window; n: the n newest frames, and every frame once */
  uint16_t slots;         /* frames kept: window_frames, or at least step_frames where that is not 0 */
  uint16_t stride_frames; /* frames from one result to the next */
  uint8_t ear;            /* its front end: 0 the image's first, n the one after it by n */
  uint8_t role;           /* KWS_ROLE_VOICE: never a word itself; others are heard only while it says yes */
  uint8_t output_flip;    /* 0x80: int8 with zero point -128; 0: uint8 with zero point 0. Scale 1/256 */
  int8_t input_zero_point;
  uint8_t feature_shift; /* see kws_fe_quantize() */
  uint32_t feature_multiplier;
  kws_detector_config_t detector;
  /* Where its parts lie in the state: a kws_track_t, slots * channels int8, the network's memory. */
  size_t track_at, window_at, network_at;
} kws_model_t;

typedef struct {
  const kws_fe_tables_t *frontend; /* the first; none of the others has more channels */
  const kws_model_t *models;
  uint32_t num_models;
  const kws_fe_tables_t *const *more; /* the other front ends */
  uint32_t num_more;
  size_t more_at; /* where their kws_ear_t lie in the state */
} kws_image_t;

/* A front end, and the frames that it gave since the reset. */
typedef struct {
  uint32_t frames;
  kws_fe_state_t frontend;
} kws_ear_t;

/* What is kept of one model. */
typedef struct {
  kws_detector_t detector;
  uint32_t next_slot;  /* of the window, for the next frame: the oldest */
  uint32_t new_frames; /* that a network which takes steps has not seen yet */
  uint32_t until;      /* frames until the next result */
  uint32_t stride;     /* frames from there to the next: the model's, unless set anew after a reset */
  uint8_t voice;       /* KWS_ROLE_VOICE: what it says */
  uint8_t scores[KWS_DET_MAX_LABELS];
} kws_track_t;

typedef struct {
  const kws_image_t *image;
  uint32_t position; /* samples since the reset at the end of the last frame; wraps at 2^32 */
  uint32_t turn;     /* of several front ends, the next to be given `portion` samples */
  size_t portion;
  kws_ear_t ear; /* the first */
} kws_stream_t;

typedef struct {
  const char *label;
  uint32_t position;    /* sample, counted from the reset, at the end of the window that it was heard in */
  uint8_t model, index; /* of the image's models; of the model's labels */
  uint8_t score;        /* smoothed posterior, or the second look's answer: 255 is 1 - 1/256 */
} kws_word_t;

typedef void kws_on_word_t(void *user, const kws_word_t *word);

/* ---- for users ---- */

/* Before anything else. 0, or -1: the image was made for larger tables or other limits than this build has. */
int kws_stream_init(kws_stream_t *s, const kws_image_t *image);
/* As if nothing had been heard yet. */
void kws_stream_reset(kws_stream_t *s);
/* Any number of samples, 16 kHz mono. on_word (may be NULL) is called for every word that they complete. Returns how many
 * words there were, or an engine's error (below 0; never with compiled networks). */
int kws_stream_feed(kws_stream_t *s, const int16_t *samples, size_t n, kws_on_word_t *on_word, void *user);
/* num_labels posteriors of a model's last result (255: 1 - 1/256); zeros before the first. */
const uint8_t *kws_stream_scores(const kws_stream_t *s, uint32_t model);

/* ---- its steps, for who measures or shows them: feed is nothing but these ---- */

/* Takes samples until a frame is whole: 1 + its front end's number, and features[channels] is filled; or until they are used
 * up: 0. Where several front ends have a frame at the same sample, *consumed is 0 for all but the last of them: call again
 * with the same samples (and any after them). */
int kws_stream_frame(kws_stream_t *s, const int16_t *samples, size_t n, size_t *consumed, uint16_t *features);
/* Whether frames of this front end are the model's. */
int kws_stream_hears(const kws_stream_t *s, uint32_t model, uint32_t ear);
/* The frame, of the model's own front end, into its window. 1: its network is to be invoked now, and its input is there. */
int kws_stream_take(kws_stream_t *s, uint32_t model, const uint16_t *features);
int kws_stream_invoke(kws_stream_t *s, uint32_t model);
/* After take, and after invoke where that was due: whether the model has a new result, which then is in its scores. */
int kws_stream_result(kws_stream_t *s, uint32_t model);
/* The detector's word on a new result. */
int kws_stream_decide(kws_stream_t *s, uint32_t model, kws_detection_t *out);

/* One result for the window_frames that are in the window now, from a network that has heard nothing else; only for a
 * model with a slot for each of them. `invoke` (NULL: kws_stream_invoke) is called once or, for a network that takes steps,
 * several times. 0 or the engine's error. */
int kws_stream_whole_window(kws_stream_t *s, uint32_t model, int (*invoke)(kws_stream_t *, uint32_t));
int8_t *kws_stream_window(kws_stream_t *s, uint32_t model); /* slots * channels, the oldest not always first */
kws_track_t *kws_stream_track(kws_stream_t *s, uint32_t model);

#ifdef __cplusplus
}
#endif
#endif
