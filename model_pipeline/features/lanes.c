/* Host only: windows of KWS_LANES clips to power, all at once, by the firmware's own transform. */
#include <string.h>

#include "lanes_simd.h"

#define KWS_STAGE KWS_LANE_OP
#include "kws_fe_transform.h"

#define MAX_POINTS (KWS_FE_MAX_FFT / 2)

/* The best that this machine has, chosen when the library is loaded. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define EACH_MACHINE __attribute__((target_clones("avx512f", "avx2", "default"), flatten))
#else
#define EACH_MACHINE __attribute__((flatten))
#endif

/* Where the reference's count of bits overlooks -32768, which it shifts out (see apply_window() in kws_frontend.c). */
static void drop_lowest(kws_word *x, uint32_t points, uint32_t lane) {
  for (uint32_t i = 0; i < points; i++) {
    uint32_t y = x[i][lane];
    if ((y & 0xFFFFu) == 0x8000u) y &= 0xFFFF0000u;
    if ((y >> 16) == 0x8000u) y &= 0xFFFFu;
    x[i][lane] = y;
  }
}

EACH_MACHINE void kws_fe_power_lanes(const kws_fe_tables_t *t, const int16_t *const *samples, uint32_t *const *power,
                                     int *shift) {
  const uint32_t points = t->fft_size / 2u;
  kws_word x[MAX_POINTS], input[MAX_POINTS];
  memset(input, 0, points * sizeof input[0]);
  for (uint32_t lane = 0; lane < KWS_LANES; lane++) {
    uint32_t *to = (uint32_t *)input + lane;
    for (uint32_t i = 0; i < t->window_samples / 2u; i++) {
      uint32_t pair;
      memcpy(&pair, samples[lane] + 2 * i, sizeof pair);
      to[i * KWS_LANES] = pair;
    }
  }
  const uint32_t second = innermost_radix(points) == 4 ? points / 4 : points / 2;
  const uint32_t third = innermost_radix(points) == 4 ? points / 2 : points / 8;
  kws_word magnitudes = {0};
  for (uint32_t i = 0; i < points; i++) {
    const uint32_t at = t->order[i / 4] + (i & 1 ? second : 0) + (i & 2 ? third : 0);
    const kws_word y = x[i] = windowed(input[at], t->window[i]);
    const kws_int lo = kws_lo(y), hi = kws_hi(y);
    magnitudes |= kws_pack((lo ^ lo >> 31) - (lo >> 31), (hi ^ hi >> 31) - (hi >> 31));
  }
  kws_int shifts;
  for (uint32_t lane = 0; lane < KWS_LANES; lane++) {
    const uint32_t both = magnitudes[lane] | magnitudes[lane] >> 16, width = both & 0x7FFFu;
    shift[lane] = 15 - (width ? 32 - __builtin_clz(width) : 0);
    if ((both & 0x8000u) && shift[lane]) drop_lowest(x, points, lane);
    shifts[lane] = shift[lane] < 15 ? shift[lane] : 14; /* silence: whatever the shift, it stays 0 */
  }
  transform(x, shifts, t);
  for (uint32_t lane = 0; lane < KWS_LANES; lane++) {
    const uint32_t *from = (const uint32_t *)x + lane;
    for (uint32_t i = 0; i < points; i++) power[lane][i] = from[i * KWS_LANES];
  }
}
