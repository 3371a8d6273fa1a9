/* The seam between the application and what runs the model. One engine is linked into an image. */
#ifndef KWS_ENGINE_H
#define KWS_ENGINE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  KWS_ENGINE_OK = 0,
  KWS_ENGINE_ESCHEMA = -1, /* the model's schema or hash is not the one this image was generated for */
  KWS_ENGINE_EOP = -2,     /* an operator is missing from the resolver */
  KWS_ENGINE_EARENA = -3,  /* the arena is too small */
  KWS_ENGINE_EINVOKE = -4,
  KWS_ENGINE_ESTATE = -5, /* invoke before load */
};

typedef struct {
  const char *name;       /* "aot" or "tflm" */
  const char *model_hash; /* first 16 hex digits of the SHA-256 of model.tflite */
  uint32_t input_bytes;   /* int8 values taken by one invoke */
  uint32_t output_bytes;  /* int8 values given by one invoke */
  uint32_t arena_bytes;   /* RAM for activations (aot: planned; tflm: used) */
  uint32_t macs;          /* multiply-accumulates of one invoke; 0 if unknown */
  uint16_t window_frames; /* feature frames that one output looks at */
  uint16_t step_frames;   /* 0: an invoke takes the whole window; n: only the n newest frames (streaming plan) */
} kws_engine_info_t;

int kws_engine_load(void); /* once, before anything else; KWS_ENGINE_OK or an error */
const kws_engine_info_t *kws_engine_info(void);

/* What runs the model is in kws_image.h, whose networks keep their state where the caller wants it. Engine tflm has one
 * interpreter with memory of its own; engines/tflm/kws_image.c makes a network of these: */
int8_t *kws_engine_input(void);        /* input_bytes writable values, valid until invoke */
int kws_engine_invoke(void);           /* consumes the input (its memory may be reused by activations) */
const int8_t *kws_engine_output(void); /* output_bytes values, valid until the input is next written */
void kws_engine_reset(void);           /* forgets streaming state */

#ifdef __cplusplus
}
#endif
#endif
