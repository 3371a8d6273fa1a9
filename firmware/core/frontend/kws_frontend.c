/* See kws_frontend.h and docs/frontend.md. "The reference" is TensorFlow Lite's microfrontend with kissfft in int16. */
#include "kws_frontend.h"

#include <string.h>

#include "kws_fe_simd.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pairs of samples are packed little-endian"
#endif

/* Each stage has the registers to itself. */
#define NOINLINE __attribute__((noinline))

#define KWS_STAGE static NOINLINE
typedef uint32_t kws_word;
typedef int32_t kws_int;
#define KWS_ALL(x) ((kws_word)(x))
#define KWS_ALL_INT(x) (x)
#include "kws_fe_transform.h"

#define FILTERBANK_BITS 12
#define SMOOTHING_BITS 10
#define NOISE_BITS 14
#define PCAN_SNR_BITS 12
#define PCAN_OUTPUT_BITS 6
#define LOG_BITS 16
#define LOG_SEGMENT_BITS 7
#define LOG_COEFFICIENT 45426 /* ln 2, 16 fraction bits */
#define LOG_SCALE_SHIFT 6
#define HALF_Q15 (1 << 14)

static inline int bit_width(uint32_t x) { return x ? 32 - __builtin_clz(x) : 0; }

/* Samples times window into state->work, in the order of the FFT's leaves. Returns by how much the result can be
 * shifted left: 15 less the width of its largest magnitude. */
static NOINLINE int apply_window(kws_fe_state_t *state) {
  const kws_fe_tables_t *t = state->tables;
  const uint32_t points = t->fft_size / 2u;
  /* Four leaves in a row start at these distances, after the innermost radix and the one above it. */
  const uint32_t second = innermost_radix(points) == 4 ? points / 4 : points / 2;
  const uint32_t third = innermost_radix(points) == 4 ? points / 2 : points / 8;
  const uint32_t *window = t->window;
  const uint16_t *order = t->order;
  uint32_t *out = state->work, *const end = out + points;
  uint32_t magnitudes = 0; /* the OR of all, which is as wide as the largest */
  const uint32_t *const in0 = state->input, *const in1 = in0 + second, *const in2 = in0 + third,
                        *const in3 = in1 + third;
  while (out < end) {
    const uint32_t i = *order++;
    const uint32_t a = windowed(in0[i], window[0]), b = windowed(in1[i], window[1]);
    out[0] = a;
    out[1] = b;
    magnitudes |= kws_abs16(a) | kws_abs16(b);
    const uint32_t c = windowed(in2[i], window[2]), d = windowed(in3[i], window[3]);
    out[2] = c;
    out[3] = d;
    magnitudes |= kws_abs16(c) | kws_abs16(d);
    out += 4;
    window += 4;
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

/* For the upper byte i of a number (64..255), what is left of its square root's best first guess over 256, 9 bits;
 * chosen so that one Newton step is less than 0.47 above the root of 32 bits (tests/features/test_frontend_c.py). */
static const uint8_t root_guess[192] = {
    1,   3,   5,   7,   9,   11,  13,  15,  16,  18,  20,  22,  24,  26,  28,  29,  31,  33,  35,  36,  38,  40,
    42,  43,  45,  47,  48,  50,  52,  53,  55,  57,  58,  60,  62,  63,  65,  66,  68,  70,  71,  73,  74,  76,
    77,  79,  80,  82,  83,  85,  86,  88,  89,  91,  92,  94,  95,  97,  98,  100, 101, 102, 104, 105, 107, 108,
    110, 111, 112, 114, 115, 116, 118, 119, 121, 122, 123, 125, 126, 127, 129, 130, 131, 133, 134, 135, 137, 138,
    139, 140, 142, 143, 144, 146, 147, 148, 149, 151, 152, 153, 154, 156, 157, 158, 159, 161, 162, 163, 164, 166,
    167, 168, 169, 170, 172, 173, 174, 175, 176, 177, 179, 180, 181, 182, 183, 185, 186, 187, 188, 189, 190, 191,
    193, 194, 195, 196, 197, 198, 199, 200, 202, 203, 204, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216,
    217, 218, 219, 220, 221, 222, 223, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239,
    240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255,
};

/* floor(sqrt(m)) for m >= 2^30. A Newton step never ends below the root, so it is right or one too much. */
static inline uint32_t root_normal(uint32_t m) {
  const uint32_t guess = (256u + root_guess[(m >> 24) - 64]) << 7;
  const uint32_t s = (guess + m / guess) >> 1;
  return s - (s * s - 1 >= m); /* s may be 65536, whose square wraps to 0 */
}

/* The square root of n < 2^52, to the nearest, but at most 65535 for n < 2^32 (as the reference has it). */
static uint32_t root(uint64_t n) {
  const uint32_t high = (uint32_t)(n >> 32), low = (uint32_t)n;
  uint32_t r;
  int32_t rest;
  if (high == 0) {
    if (low == 0) return 0;
    const int even = __builtin_clz(low) & ~1;
    r = root_normal(low << even) >> (even >> 1);
    rest = (int32_t)(low - r * r);
    return r + (rest > (int32_t)r && r != 0xFFFFu);
  }
  /* n = m 2^(2j) + ..., m of 31 or 32 bits; j more bits of the root by a division (Zimmermann, "Karatsuba Square
   * Root", 1999), which is right or one too much. rest < 2^28, so its low 32 bits tell all. */
  const int j = (33 - __builtin_clz(high)) >> 1;
  const uint32_t m = (high << (32 - 2 * j)) | (low >> (2 * j));
  const uint32_t s = root_normal(m);
  r = (s << j) + ((((m - s * s) << j) | ((low >> j) & ((1u << j) - 1))) / (2 * s));
  rest = (int32_t)(low - r * r);
  if (rest < 0) {
    r--;
    rest += (int32_t)(2 * r + 1);
  }
  return r + (rest > (int32_t)r);
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

/* Power to the root of each channel's energy. */
static NOINLINE void filterbank(const kws_fe_state_t *state, int shift, uint32_t *signal) {
  const kws_fe_tables_t *t = state->tables;
  const uint32_t *power = state->work + t->first_bin;
  const uint16_t *weight = t->weights, *tie = t->ties, *width = t->widths;
  const uint16_t *last = width + t->num_channels;
  const uint32_t *next_tie = state->work + *tie;
  uint64_t falling = 0; /* what the region below gives this channel */
  uint32_t *out = signal - 1;
  for (; width <= last; width++, out++) {
    uint64_t rising = 0;
    uint32_t all = 0;
    for (const uint32_t *end = power + *width; power < end; power++) {
      const uint32_t p = *power;
      rising += (uint64_t)*weight++ * p;
      all += p;
    }
    if (out >= signal) *out = root(falling + rising) >> shift;
    falling = ((uint64_t)all << FILTERBANK_BITS) - rising;
    while (next_tie < power) {
      falling += *next_tie;
      next_tie = state->work + *++tie;
    }
  }
}

/* Noise reduction, PCAN and logarithm of each channel. */
static NOINLINE void compress(kws_fe_state_t *state, const uint32_t *signals, uint16_t *features) {
  const kws_fe_tables_t *const t = state->tables;
  const uint32_t n = t->num_channels, flags = t->flags, correction = t->correction_bits, snr_shift = t->snr_shift;
  const uint32_t remaining = t->min_signal_remaining;
  const int16_t *const gain_lut = t->gain_lut;
  const uint16_t *const log_lut = t->log_lut;
  uint32_t smoothing = t->even_smoothing, other = t->odd_smoothing;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t signal = signals[i];
    if (flags) {
      const uint32_t scaled_up = signal << SMOOTHING_BITS;
      const uint32_t estimate = (uint32_t)(((uint64_t)scaled_up * smoothing +
                                            (uint64_t)state->estimate[i] * ((1u << NOISE_BITS) - smoothing)) >>
                                           NOISE_BITS);
      state->estimate[i] = estimate;
      if (flags & KWS_FE_NOISE_REDUCTION) {
        const uint32_t floor = (uint32_t)(((uint64_t)signal * remaining) >> NOISE_BITS);
        const uint32_t rest = estimate > scaled_up ? 0 : (scaled_up - estimate) >> SMOOTHING_BITS;
        signal = rest > floor ? rest : floor;
      }
      if (flags & KWS_FE_PCAN) {
        const uint64_t product = (uint64_t)signal * gain(estimate, gain_lut);
        /* 0 < snr_shift < 32, which gcc does not know. */
        signal = shrink((uint32_t)(product >> 32) << (32 - snr_shift) | (uint32_t)product >> snr_shift);
      }
      const uint32_t swap = smoothing;
      smoothing = other;
      other = swap;
    }
    const uint32_t value = logarithm(signal << correction, log_lut);
    features[i] = (uint16_t)(value < 0xFFFFu ? value : 0xFFFFu);
  }
}

static void frame(kws_fe_state_t *state, uint16_t *features) {
  const kws_fe_tables_t *t = state->tables;
  const int shift = apply_window(state);
  if (shift < 15) {
    transform(state->work, shift, t);
  } else {
    memset(state->work, 0, t->fft_size / 2u * sizeof state->work[0]); /* silence */
  }
  uint32_t signal[KWS_FE_MAX_CHANNELS];
  filterbank(state, shift, signal);
  compress(state, signal, features);
}

int kws_fe_init(kws_fe_state_t *state, const kws_fe_tables_t *t) {
  if ((t->fft_size != 256 && t->fft_size != 512 && t->fft_size != 1024) || t->fft_size > KWS_FE_MAX_FFT ||
      t->window_samples == 0 || t->window_samples > t->fft_size || t->window_samples % 16u || t->hop_samples == 0 ||
      t->hop_samples > t->window_samples || t->hop_samples % 16u || t->snr_shift == 0 || t->snr_shift > 31 ||
      t->num_channels == 0 || t->num_channels > KWS_FE_MAX_CHANNELS || t->first_bin == 0 || t->first_bin > t->end_bin ||
      t->end_bin > t->fft_size / 2u)
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

/* Moves words from + 0..n-1 to the front, 8 at a time: hop and window are multiples of 8 words, which init checks. */
static void keep(uint32_t *input, uint32_t from, uint32_t n) {
  typedef struct {
    uint32_t word[8];
  } block_t;
  block_t *to = (block_t *)input;
  const block_t *source = (const block_t *)(input + from), *const end = source + n / 8;
  while (source < end) *to++ = *source++;
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
  keep(state->input, t->hop_samples / 2u, state->used / 2u);
  return 1;
}

int8_t kws_fe_quantize(uint16_t feature, uint32_t multiplier, int shift, int zero_point) {
  const int64_t q = (int64_t)(((uint64_t)feature * multiplier + (1ull << (shift - 1))) >> shift) + zero_point;
  return (int8_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}
