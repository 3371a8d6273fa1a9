/* The inner loop of model_pipeline/training/augment.py: in NumPy it costs more than the front end and the network's step. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* For each of n clips of `length` samples: sample k of the result is that of `in` at speed * (k - middle) + middle -
 * shift (linear between samples, zero outside), times gain, plus the noise that begins at `noise + start`, scaled to
 * lie snr_gain (an amplitude ratio, < 0: no noise) over the result's RMS; rounded and saturated. */
void kws_augment(const int16_t *in, int16_t *out, size_t n, size_t length, const float *speed, const float *shift,
                 const float *gain, const int16_t *noise, const int64_t *start, const float *snr_gain, float *scratch) {
  for (size_t c = 0; c < n; ++c) {
    const int16_t *x = in + c * length;
    const double middle = (double)length / 2;
    double where = middle * (1.0 - (double)speed[c]) - (double)shift[c];
    double energy = 0;
    for (size_t k = 0; k < length; ++k, where += (double)speed[c]) {
      float value = 0;
      if (where > -1.0 && where < (double)length) {
        const double whole = floor(where);
        const int64_t i = (int64_t)whole;
        const float a = i >= 0 ? (float)x[i] : 0.0f;
        const float b = (size_t)(i + 1) < length ? (float)x[i + 1] : 0.0f;
        value = (a + (float)(where - whole) * (b - a)) * gain[c];
      }
      scratch[k] = value;
      energy += (double)value * (double)value;
    }
    float factor = 0;
    const int16_t *piece = noise + start[c];
    if (snr_gain[c] >= 0) {
      double noise_energy = 0;
      for (size_t k = 0; k < length; ++k) noise_energy += (double)piece[k] * (double)piece[k];
      /* One is added under both roots: digital silence has no level. */
      factor = snr_gain[c] * (float)sqrt((energy / (double)length + 1.0) / (noise_energy / (double)length + 1.0));
    }
    for (size_t k = 0; k < length; ++k) {
      float value = scratch[k] + (factor > 0 ? factor * (float)piece[k] : 0.0f);
      value = rintf(value);
      out[c * length + k] = (int16_t)(value > 32767.0f ? 32767.0f : value < -32768.0f ? -32768.0f : value);
    }
  }
}
