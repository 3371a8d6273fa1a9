/* Host only: whole clips through the front end in one call, so that Python is left once a batch. */
#include <stdlib.h>

/* With its static functions: what comes after the power is done frame by frame. */
#include "kws_frontend.c"
#include "lanes.h"

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

#define FEW 4 /* clips that are faster one by one */

/* At most KWS_LANES clips [samples] to out [frames, channels] each, from fresh states. */
static void clips_in_lanes(kws_fe_state_t *states, const int16_t *clips, size_t count, size_t samples, uint16_t *out,
                           size_t frames) {
  const kws_fe_tables_t *t = states[0].tables;
  const int16_t *windows[KWS_LANES];
  uint32_t *power[KWS_LANES];
  int shift[KWS_LANES];
  for (size_t lane = 0; lane < KWS_LANES; lane++) {
    kws_fe_reset(&states[lane]);
    power[lane] = states[lane].work;
  }
  for (size_t frame = 0; frame < frames; frame++) {
    for (size_t lane = 0; lane < KWS_LANES; lane++) {
      const size_t clip = lane < count ? lane : count - 1; /* something to fill the last lanes with */
      windows[lane] = clips + clip * samples + frame * t->hop_samples;
    }
    kws_fe_power_lanes(t, windows, power, shift);
    for (size_t lane = 0; lane < count; lane++) {
      uint32_t signal[KWS_FE_MAX_CHANNELS];
      filterbank(&states[lane], shift[lane], signal);
      compress(&states[lane], signal, out + (lane * frames + frame) * t->num_channels);
    }
  }
}

/* clips [count, samples] to out [count, frames, channels], a fresh state for each. 0, or -1. */
int kws_fe_clips(const kws_fe_tables_t *tables, const int16_t *clips, size_t count, size_t samples, uint16_t *out,
                 size_t frames) {
  if (tables->window_samples + (frames - 1) * tables->hop_samples > samples) return -1;
  kws_fe_state_t *states = malloc(KWS_LANES * sizeof *states);
  int error = states == NULL;
  for (size_t lane = 0; lane < KWS_LANES && !error; lane++) error = kws_fe_init(&states[lane], tables);
  for (size_t first = 0; first < count && !error; first += KWS_LANES) {
    const size_t some = count - first < KWS_LANES ? count - first : KWS_LANES;
    const int16_t *from = clips + first * samples;
    uint16_t *to = out + first * frames * tables->num_channels;
    if (some >= FEW) {
      clips_in_lanes(states, from, some, samples, to, frames);
      continue;
    }
    for (size_t i = 0; i < some; i++) {
      kws_fe_reset(&states[0]);
      kws_fe_run(&states[0], from + i * samples, samples, to + i * frames * tables->num_channels, frames);
    }
  }
  free(states);
  return error ? -1 : 0;
}

void kws_fe_quantize_all(const uint16_t *features, size_t n, uint32_t multiplier, int shift, int zero_point,
                         int8_t *out) {
  for (size_t i = 0; i < n; i++) out[i] = kws_fe_quantize(features[i], multiplier, shift, zero_point);
}
