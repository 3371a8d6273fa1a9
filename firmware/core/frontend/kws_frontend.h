/* Fixed-point log-mel front end: int16 audio in, one frame of uint16 features each hop out.
 *
 * The algorithm is that of TensorFlow Lite's "microfrontend", and with the stock configuration every feature is equal
 * to its, bit for bit (docs/frontend.md tells how). Integers only, no heap. The same source is compiled for the board,
 * for the host tools and for training. Tables come from model_pipeline/features/tables.py. */
#ifndef KWS_FRONTEND_H
#define KWS_FRONTEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest FFT and channel count that a state has room for; a build may lower them to its model's. */
#ifndef KWS_FE_MAX_FFT
#define KWS_FE_MAX_FFT 1024
#endif
#ifndef KWS_FE_MAX_CHANNELS
#define KWS_FE_MAX_CHANNELS 64
#endif

enum { KWS_FE_NOISE_REDUCTION = 1, KWS_FE_PCAN = 2 };

/* Constant data; see `Tables` in model_pipeline/features/tables.py for what each array holds. */
typedef struct {
  uint16_t window_samples; /* a multiple of 16, as the next */
  uint16_t hop_samples;    /* at most window_samples */
  uint16_t fft_size;       /* 256, 512 or 1024; at least window_samples */
  uint16_t num_channels;
  uint16_t first_bin; /* of the FFT, >= 1 */
  uint16_t end_bin;   /* one behind the last, <= fft_size / 2 */
  uint16_t flags;
  uint16_t correction_bits;
  uint16_t snr_shift;
  uint16_t even_smoothing; /* 14 fraction bits, as the next two */
  uint16_t odd_smoothing;
  uint16_t min_signal_remaining;
  const uint16_t *order;
  const uint32_t *window; /* pairs of int16 */
  const uint32_t *twiddles;
  const uint32_t *super_twiddles;
  const uint16_t *widths;
  const uint16_t *weights;
  const uint16_t *ties;
  const int16_t *gain_lut;
  const uint16_t *log_lut;
} kws_fe_tables_t;

typedef struct {
  const kws_fe_tables_t *tables;
  uint32_t used;                          /* samples held in input */
  uint32_t input[KWS_FE_MAX_FFT / 2];     /* pairs of samples, the older low; zero behind the window */
  uint32_t work[KWS_FE_MAX_FFT / 2];      /* the spectrum, then its power; scratch between two frames */
  uint32_t estimate[KWS_FE_MAX_CHANNELS]; /* of the noise, 10 fraction bits */
} kws_fe_state_t;

/* 0, or -1 if the tables need more room than this build has or contradict themselves (the state is unusable then). */
int kws_fe_init(kws_fe_state_t *state, const kws_fe_tables_t *tables);

/* Forgets samples and noise estimate. */
void kws_fe_reset(kws_fe_state_t *state);

/* Takes samples until a frame is whole: 1, and features[num_channels] is filled; or until they are used up: 0.
 * *consumed is how many of the n were taken; call again with the rest. A feature is 64 times a natural logarithm. */
int kws_fe_process(kws_fe_state_t *state, const int16_t *samples, size_t n, size_t *consumed, uint16_t *features);

/* One feature as the model's int8 input:
 * clamp(((feature * multiplier + (1 << (shift - 1))) >> shift) + zero_point, -128, 127), shift in 1..31. */
int8_t kws_fe_quantize(uint16_t feature, uint32_t multiplier, int shift, int zero_point);

#ifdef __cplusplus
}
#endif
#endif
