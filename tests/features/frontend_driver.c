/* Host driver of the front end for builds with sanitizers: stdin holds [u32 seed][int16 samples], stdout gets the
 * features. Samples are given in chunks of pseudo-random size (0 to 700), in exactly sized heap blocks so that any read
 * beyond is noticed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kws_frontend.h"

extern const kws_fe_tables_t kws_frontend_tables;

int main(void) {
  kws_fe_state_t *state = malloc(sizeof *state);
  uint16_t *features = malloc(2u * kws_frontend_tables.num_channels);
  uint32_t random;
  if (!state || !features || kws_fe_init(state, &kws_frontend_tables)) return 2;
  if (fread(&random, 4, 1, stdin) != 1) return 2;
  for (;;) {
    random = random * 1664525u + 1013904223u;
    size_t n = (random >> 16) % 701;
    int16_t *chunk = malloc(2 * n + 1);
    const size_t got = fread(chunk, 2, n, stdin);
    int16_t *exact = malloc(2 * got + 1);
    memcpy(exact, chunk, 2 * got);
    for (size_t at = 0; at < got;) {
      size_t taken = 9999;
      if (kws_fe_process(state, exact + at, got - at, &taken, features))
        fwrite(features, 2, kws_frontend_tables.num_channels, stdout);
      at += taken;
    }
    free(exact);
    free(chunk);
    if (got < n) break;
  }
  free(features);
  free(state);
  return 0;
}
