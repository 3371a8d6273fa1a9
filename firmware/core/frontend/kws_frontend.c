/* See kws_frontend.h and docs/frontend.md. "The reference" is TensorFlow Lite's microfrontend with kissfft in int16. */
#include "kws_frontend.h"

#include <string.h>

#include "kws_fe_simd.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pairs of samples are packed little-endian"
#endif

#define WINDOW_BITS 12
#define SMOOTHING_BITS 10
#define NOISE_BITS 14
#define PCAN_SNR_BITS 12
#define PCAN_OUTPUT_BITS 6
#define LOG_BITS 16
#define LOG_SEGMENT_BITS 7
#define LOG_COEFFICIENT 45426 /* ln 2, 16 fraction bits */
#define LOG_SCALE_SHIFT 6
#define HALF_Q15 (1 << 14)

/* Divides both halves by about 2 or 4 as the reference does: times 16383 or 8191, rounded at bit 15. The constants
 * are doubled, so that the results stand in the upper halves. */
#define BY_2 16383
#define BY_4 8191
static inline uint32_t scaled(uint32_t x, int32_t twice) {
  return kws_pkhtb(kws_smlatb(x, twice, 1 << 15), kws_smlabb(x, twice, 1 << 15), 16);
}

/* a * b of complex numbers, 15 fraction bits, rounded. */
static inline uint32_t cmul(uint32_t a, uint32_t b) {
  const int32_t real = kws_smlsd(a, b, HALF_Q15), imag = kws_smladx(a, b, HALF_Q15);
  return kws_pkhbt((uint32_t)(real >> 15), (uint32_t)imag, 1);
}

static inline int bit_width(uint32_t x) { return x ? 32 - __builtin_clz(x) : 0; }

/* Samples times window into state->work, in the order of the FFT's leaves. Returns by how much the result can be
 * shifted left: 15 less the width of its largest magnitude. */
static int apply_window(kws_fe_state_t *state, int radix) {
  const kws_fe_tables_t *t = state->tables;
  const uint32_t points = t->fft_size / 2u, step = points / (uint32_t)radix;
  const uint32_t *window = t->window;
  const uint16_t *order = t->order;
  uint32_t *out = state->work, *end = out + points;
  uint32_t magnitudes = 0; /* the OR of all, which is as wide as the largest */
  while (out < end) {
    const uint32_t *in = state->input + *order++;
    for (int j = 0; j < radix; j++) {
      const uint32_t x = in[(uint32_t)j * step], w = *window++;
      const int32_t lo = kws_smulbb(x, w), hi = kws_smultt(x, w);
      const uint32_t y = kws_pkhbt((uint32_t)(lo >> WINDOW_BITS), (uint32_t)hi, 16 - WINDOW_BITS);
      magnitudes |= kws_abs16(y);
      *out++ = y;
    }
  }
  /* The reference negates -32768 in 16 bits and so never sees it as the largest; where that makes it shift, the
   * sample's bits all leave the word. */
  const int shift = 15 - bit_width((magnitudes | magnitudes >> 16) & 0x7FFFu);
  if (((magnitudes | magnitudes >> 16) & 0x8000u) && shift) {
    for (out = state->work; out < end; out++) {
      uint32_t y = *out;
      if ((y & 0xFFFFu) == 0x8000u) y &= 0xFFFF0000u;
      if ((y >> 16) == 0x8000u) y &= 0xFFFFu;
      *out = y;
    }
  }
  return shift;
}

/* The innermost stage, where all twiddle factors are 1. For |a| <= 8192 the reference's product with 32767/32768
 * rounds to a itself, so there is nothing to multiply. The shift of the input is a part of the division:
 * ((x << s) * c + 2^14) >> 15 = (x * c + 2^(14 - s)) >> (15 - s). */
static void first_stage(uint32_t *x, uint32_t points, int shift, int radix) {
  const int32_t round = 1 << (14 - shift);
  const int right = 15 - shift, left = 1 + shift;
#define LOAD(i, c) \
  kws_pkhbt((uint32_t)(kws_smlabb(x[i], c, round) >> right), (uint32_t)kws_smlatb(x[i], c, round) << left, 0)
  const uint32_t *end = x + points;
  if (radix == 4) {
    for (; x < end; x += 4) {
      const uint32_t a = LOAD(0, BY_4), b = LOAD(1, BY_4), c = LOAD(2, BY_4), d = LOAD(3, BY_4);
      const uint32_t e = kws_ssub16(a, c), f = kws_sadd16(a, c), g = kws_sadd16(b, d), h = kws_ssub16(b, d);
      x[0] = kws_sadd16(f, g);
      x[1] = kws_ssax(e, h);
      x[2] = kws_ssub16(f, g);
      x[3] = kws_sasx(e, h);
    }
  } else {
    for (; x < end; x += 2) {
      const uint32_t a = LOAD(0, BY_2), b = LOAD(1, BY_2);
      x[0] = kws_sadd16(a, b);
      x[1] = kws_ssub16(a, b);
    }
  }
#undef LOAD
}

/* A stage of radix 4: butterflies over x[k + m * {0, 1, 2, 3}] in each block of 4m. */
static void stage(uint32_t *x, uint32_t points, uint32_t m, const uint32_t *twiddles) {
  const uint32_t *end = x + points;
  const uint32_t stride = points / 4 / m * 3;
  const int32_t by4 = 2 * BY_4;
  for (uint32_t *p = x; p < end; p += 4 * m) { /* k = 0: factors of 1, as in the first stage */
    const uint32_t a = scaled(p[0], by4), b = scaled(p[m], by4), c = scaled(p[2 * m], by4), d = scaled(p[3 * m], by4);
    const uint32_t e = kws_ssub16(a, c), f = kws_sadd16(a, c), g = kws_sadd16(b, d), h = kws_ssub16(b, d);
    p[0] = kws_sadd16(f, g);
    p[m] = kws_ssax(e, h);
    p[2 * m] = kws_ssub16(f, g);
    p[3 * m] = kws_sasx(e, h);
  }
  const uint32_t *tw = twiddles;
  for (uint32_t k = 1; k < m; k++) {
    tw += stride;
    const uint32_t w1 = tw[0], w2 = tw[1], w3 = tw[2];
    for (uint32_t *p = x + k; p < end; p += 4 * m) {
      const uint32_t a = scaled(p[0], by4);
      const uint32_t b = cmul(scaled(p[m], by4), w1);
      const uint32_t c = cmul(scaled(p[2 * m], by4), w2);
      const uint32_t d = cmul(scaled(p[3 * m], by4), w3);
      const uint32_t e = kws_ssub16(a, c), f = kws_sadd16(a, c), g = kws_sadd16(b, d), h = kws_ssub16(b, d);
      p[0] = kws_sadd16(f, g);
      p[m] = kws_ssax(e, h);
      p[2 * m] = kws_ssub16(f, g);
      p[3 * m] = kws_sasx(e, h);
    }
  }
}

/* From the transform of (even + i odd) samples to the power of the real signal's bins, in place. */
static void power_spectrum(uint32_t *x, uint32_t points, const kws_fe_tables_t *t) {
  const uint32_t *super_twiddles = t->super_twiddles;
  for (uint32_t k = 1; k <= points / 2; k++) {
    const uint32_t p = x[k], n = x[points - k], by2 = 2 * BY_2, minus = (uint32_t)(-2 * BY_2);
    const uint32_t a = scaled(p, (int32_t)by2);
    const uint32_t b = kws_pkhtb(kws_smlatb(n, minus, 1 << 15), kws_smlabb(n, by2, 1 << 15), 16); /* conjugate */
    const uint32_t sum = kws_sadd16(a, b), difference = kws_ssub16(a, b);
    const uint32_t odd = cmul(difference, super_twiddles[k - 1]);
    const uint32_t u = kws_shadd16(sum, odd), v = kws_shsub16(sum, odd), w = kws_shsub16(odd, sum);
    x[k] = (uint32_t)kws_smuad(u, u);
    x[points - k] = (uint32_t)kws_smlatt(w, w, kws_smulbb(v, v)); /* at k = points / 2 the last word, as there */
  }
}

/* Square root to the nearest; the reference's 32-bit branch saturates at 65535. */
static uint32_t root32(uint32_t n) {
  if (n == 0) return 0;
  uint32_t r = 0, rest = n;
  for (uint32_t bit = 1u << ((31 - __builtin_clz(n)) & ~1); bit; bit >>= 2) {
    if (rest >= r + bit) {
      rest -= r + bit;
      r = (r >> 1) + bit;
    } else {
      r >>= 1;
    }
  }
  return r + (rest > r && r != 0xFFFFu);
}

static uint32_t root64(uint64_t n) {
  if (n >> 32 == 0) return root32((uint32_t)n);
  uint64_t r = 0, rest = n;
  for (uint64_t bit = 1ull << ((63 - __builtin_clzll(n)) & ~1); bit; bit >>= 2) {
    if (rest >= r + bit) {
      rest -= r + bit;
      r = (r >> 1) + bit;
    } else {
      r >>= 1;
    }
  }
  return (uint32_t)(r + (rest > r && r != 0xFFFFFFFFu));
}

/* PCAN's gain: a parabola in the octave of x. */
static uint32_t gain(uint32_t x, const int16_t *lut) {
  if (x <= 1) return (uint32_t)(int32_t)lut[x];
  const int width = bit_width(x);
  lut += 4 * width - 6;
  const int32_t fraction = (int32_t)((width < 11 ? x << (11 - width) : x >> (width - 11)) & 0x3FFu);
  int32_t r = (lut[2] * fraction) >> 5;
  r += (int32_t)((uint32_t)(int32_t)lut[1] << 5);
  r = (int32_t)((uint32_t)r * (uint32_t)fraction);
  return (uint32_t)(int32_t)(int16_t)(((r + (1 << 14)) >> 15) + lut[0]);
}

static uint32_t shrink(uint32_t snr) {
  if (snr < 2u << PCAN_SNR_BITS) return (snr * snr) >> (2 + 2 * PCAN_SNR_BITS - PCAN_OUTPUT_BITS);
  return (snr >> (PCAN_SNR_BITS - PCAN_OUTPUT_BITS)) - (1u << PCAN_OUTPUT_BITS);
}

/* 64 ln x, by a table of what log2(1 + f) exceeds f by. */
static uint32_t logarithm(uint32_t x, const uint16_t *lut) {
  if (x <= 1) return 0;
  const int zeros = __builtin_clz(x);
  const uint32_t fraction = (x << zeros << 1) >> 16; /* behind the leading one */
  const uint32_t segment = fraction >> (LOG_BITS - LOG_SEGMENT_BITS);
  const int32_t low = lut[segment], high = lut[segment + 1];
  const int32_t within = (int32_t)(fraction & ((1u << (LOG_BITS - LOG_SEGMENT_BITS)) - 1));
  const uint32_t log2 =
      ((uint32_t)(31 - zeros) << LOG_BITS) + fraction + (uint32_t)(low + (((high - low) * within) >> LOG_BITS));
  const uint32_t ln = (uint32_t)(((uint64_t)LOG_COEFFICIENT * log2 + (1u << (LOG_BITS - 1))) >> LOG_BITS);
  return ((ln << LOG_SCALE_SHIFT) + (1u << (LOG_BITS - 1))) >> LOG_BITS;
}

/* Channel by channel: filterbank, square root, noise reduction, PCAN, logarithm. */
static void channels(kws_fe_state_t *state, int shift, uint16_t *features) {
  const kws_fe_tables_t *t = state->tables;
  const uint32_t *power = state->work + t->first_bin;
  const uint16_t *weight = t->weights, *tie = t->ties;
  uint64_t falling = 0; /* what the region below gives this channel */
  for (int i = -1; i < t->num_channels; i++) {
    uint64_t rising = 0;
    uint32_t all = 0;
    for (const uint32_t *end = power + t->widths[i + 1]; power < end; power++) {
      rising += (uint64_t)*weight++ * *power;
      all += *power;
    }
    const uint64_t total = falling + rising;
    falling = ((uint64_t)all << WINDOW_BITS) - rising;
    while (*tie < power - state->work) falling += state->work[*tie++];
    if (i < 0) continue;

    uint32_t signal = root64(total) >> shift;
    if (t->flags) {
      const uint32_t smoothing = i & 1 ? t->odd_smoothing : t->even_smoothing;
      const uint32_t scaled_up = signal << SMOOTHING_BITS;
      const uint32_t estimate = (uint32_t)(((uint64_t)scaled_up * smoothing +
                                            (uint64_t)state->estimate[i] * ((1u << NOISE_BITS) - smoothing)) >>
                                           NOISE_BITS);
      state->estimate[i] = estimate;
      if (t->flags & KWS_FE_NOISE_REDUCTION) {
        const uint32_t floor = (uint32_t)(((uint64_t)signal * t->min_signal_remaining) >> NOISE_BITS);
        const uint32_t rest = estimate > scaled_up ? 0 : (scaled_up - estimate) >> SMOOTHING_BITS;
        signal = rest > floor ? rest : floor;
      }
      if (t->flags & KWS_FE_PCAN)
        signal = shrink((uint32_t)(((uint64_t)signal * gain(estimate, t->gain_lut)) >> t->snr_shift));
    }
    const uint32_t value = logarithm(signal << t->correction_bits, t->log_lut);
    features[i] = (uint16_t)(value < 0xFFFFu ? value : 0xFFFFu);
  }
}

static void frame(kws_fe_state_t *state, uint16_t *features) {
  const kws_fe_tables_t *t = state->tables;
  const uint32_t points = t->fft_size / 2u;
  const int radix = points & 0xAAAAAAAAu ? 2 : 4; /* an odd power of two has one stage of radix 2, the innermost */
  const int shift = apply_window(state, radix);
  if (shift < 15) {
    first_stage(state->work, points, shift, radix);
    for (uint32_t m = (uint32_t)radix; m < points; m *= 4) stage(state->work, points, m, t->twiddles);
    power_spectrum(state->work, points, t);
  } else {
    memset(state->work, 0, points * sizeof state->work[0]); /* silence */
  }
  channels(state, shift, features);
}

int kws_fe_init(kws_fe_state_t *state, const kws_fe_tables_t *t) {
  if ((t->fft_size != 256 && t->fft_size != 512 && t->fft_size != 1024) || t->fft_size > KWS_FE_MAX_FFT ||
      t->window_samples == 0 || t->window_samples > t->fft_size || t->hop_samples == 0 ||
      t->hop_samples > t->window_samples || t->num_channels == 0 || t->num_channels > KWS_FE_MAX_CHANNELS ||
      t->first_bin == 0 || t->first_bin > t->end_bin || t->end_bin > t->fft_size / 2u)
    return -1;
  uint32_t bins = 0;
  for (uint32_t i = 0; i <= t->num_channels; i++) bins += t->widths[i];
  if (t->first_bin + bins != t->end_bin) return -1;
  state->tables = t;
  kws_fe_reset(state);
  return 0;
}

void kws_fe_reset(kws_fe_state_t *state) {
  state->used = 0;
  memset(state->input, 0, sizeof state->input);
  memset(state->estimate, 0, sizeof state->estimate);
}

int kws_fe_process(kws_fe_state_t *state, const int16_t *samples, size_t n, size_t *consumed, uint16_t *features) {
  const kws_fe_tables_t *t = state->tables;
  uint8_t *input = (uint8_t *)state->input;
  const size_t room = t->window_samples - state->used;
  const size_t taken = n < room ? n : room;
  if (taken) memcpy(input + 2 * state->used, samples, 2 * taken);
  state->used += (uint32_t)taken;
  *consumed = taken;
  if (state->used < t->window_samples) return 0;
  frame(state, features);
  state->used -= t->hop_samples;
  memmove(input, input + 2 * t->hop_samples, 2 * state->used);
  return 1;
}

int8_t kws_fe_quantize(uint16_t feature, uint32_t multiplier, int shift, int zero_point) {
  const int64_t q = (int64_t)(((uint64_t)feature * multiplier + (1ull << (shift - 1))) >> shift) + zero_point;
  return (int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}
