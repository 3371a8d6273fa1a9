/* Runs the front end over the input's samples (int16) and writes its features (uint16), chunk by chunk.
 * With STAGES it steps through the frame itself and counts each stage. */
#include "m4.h"

#ifdef STAGES
#include "kws_frontend.c"
#else
#include "kws_frontend.h"
#endif

extern const kws_fe_tables_t kws_frontend_tables;
static kws_fe_state_t state;
static int16_t chunk[160];
static uint16_t features[KWS_FE_MAX_CHANNELS];

#ifdef STAGES
static void staged(void) {
  const kws_fe_tables_t *t = state.tables;
  const uint32_t points = t->fft_size / 2u;
  const uint32_t radix = innermost_radix(points);
  uint32_t begin = t_begin();
  const int shift = apply_window(&state);
  t_end("window", begin);
  if (shift == 15) return;
  begin = t_begin();
  first_stage(state.work, points, shift, radix);
  t_end("fft first stage", begin);
  begin = t_begin();
  uint32_t m = radix;
  for (; m < points / 4; m *= 4) middle_stage(state.work, points, m, t->twiddles);
  t_end("fft middle stages", begin);
  begin = t_begin();
  last_stage(state.work, m, t->twiddles);
  t_end("fft last stage", begin);
  begin = t_begin();
  power_spectrum(state.work, points, t);
  t_end("power spectrum", begin);
  begin = t_begin();
  uint32_t signal[KWS_FE_MAX_CHANNELS];
  filterbank(&state, shift, signal);
  t_end("filterbank, roots", begin);
  begin = t_begin();
  compress(&state, signal, features);
  t_end("noise, PCAN, log", begin);
}
#endif

int main(void) {
  if (kws_fe_init(&state, &kws_frontend_tables)) t_fail("init");
  size_t n;
  uint32_t frame = 0;
  while ((n = t_read(chunk, sizeof chunk) / 2) > 0) {
    for (size_t at = 0; at < n;) {
      size_t taken;
#ifdef STAGES
      if (state.used + (n - at) >=
          state.tables->window_samples) { /* this call makes a frame: do it stage by stage first */
        kws_fe_state_t *s = &state;
        const size_t room = s->tables->window_samples - s->used;
        memcpy((uint8_t *)s->input + 2 * s->used, chunk + at, 2 * room);
        uint32_t kept[KWS_FE_MAX_CHANNELS];
        memcpy(kept, s->estimate, sizeof kept);
        staged();
        memcpy(s->estimate, kept, sizeof kept);
      }
#endif
      const uint32_t begin = t_begin();
      const int whole = kws_fe_process(&state, chunk + at, n - at, &taken, features);
      if (whole) {
        t_end("frame", begin);
        t_write(features, 2u * state.tables->num_channels);
        frame++;
      } else {
        t_end("samples", begin);
      }
      at += taken;
    }
  }
  const uint32_t size = sizeof state;
  t_write(&size, sizeof size);
  return 0;
}
