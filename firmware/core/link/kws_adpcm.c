#include "kws_adpcm.h"

#define STEPS 89

static const uint16_t steps[STEPS] = {
    7,    8,     9,     10,    11,    12,    13,    14,    16,    17,    19,    21,    23,    25,    28,
    31,   34,    37,    41,    45,    50,    55,    60,    66,    73,    80,    88,    97,    107,   118,
    130,  143,   157,   173,   190,   209,   230,   253,   279,   307,   337,   371,   408,   449,   494,
    544,  598,   658,   724,   796,   876,   963,   1060,  1166,  1282,  1411,  1552,  1707,  1878,  2066,
    2272, 2499,  2749,  3024,  3327,  3660,  4026,  4428,  4871,  5358,  5894,  6484,  7132,  7845,  8630,
    9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
};
static const int8_t change[8] = {-1, -1, -1, -1, 2, 4, 6, 8}; /* of the step's index, by the code's lower three bits */

uint8_t kws_adpcm_encode(kws_adpcm_t *state, int16_t sample) {
  int32_t step = steps[state->step], difference = (int32_t)sample - state->predictor, guess = step >> 3;
  uint8_t code = 0;
  if (difference < 0) {
    code = 8;
    difference = -difference;
  }
  for (uint8_t bit = 4; bit != 0; bit >>= 1, step >>= 1) {
    if (difference < step) continue;
    code |= bit;
    difference -= step;
    guess += step;
  }
  int32_t predictor = state->predictor + (code & 8 ? -guess : guess);
  if (predictor > INT16_MAX) predictor = INT16_MAX;
  if (predictor < INT16_MIN) predictor = INT16_MIN;
  int32_t index = state->step + change[code & 7];
  if (index < 0) index = 0;
  if (index > STEPS - 1) index = STEPS - 1;
  state->predictor = (int16_t)predictor;
  state->step = (uint8_t)index;
  return code;
}
