/* Host only: whole clips through the front end in one call, so that Python is left once a batch. */
#include <stdlib.h>

#include "kws_frontend.h"

size_t kws_fe_state_size(void) { return sizeof(kws_fe_state_t); }

/* Samples [n] through a state; at most max_frames frames to out. Returns their number. */
size_t kws_fe_run(kws_fe_state_t *state, const int16_t *samples, size_t n, uint16_t *out, size_t max_frames) {
  size_t frames = 0;
  while (n && frames < max_frames) {
    size_t taken;
    if (kws_fe_process(state, samples, n, &taken, out)) {
      out += state->tables->num_channels;
      frames++;
    }
    samples += taken;
    n -= taken;
  }
  return frames;
}

/* clips [count, samples] to out [count, frames, channels], a fresh state for each. 0, or -1. */
int kws_fe_clips(const kws_fe_tables_t *tables, const int16_t *clips, size_t count, size_t samples, uint16_t *out,
                 size_t frames) {
  kws_fe_state_t *state = malloc(sizeof *state);
  int error = state == NULL || kws_fe_init(state, tables);
  for (size_t i = 0; i < count && !error; i++) {
    kws_fe_reset(state);
    error = kws_fe_run(state, clips + i * samples, samples, out + i * frames * tables->num_channels, frames) != frames;
  }
  free(state);
  return error ? -1 : 0;
}

void kws_fe_quantize_all(const uint16_t *features, size_t n, uint32_t multiplier, int shift, int zero_point,
                         int8_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = kws_fe_quantize(features[i], multiplier, shift, zero_point);
}
