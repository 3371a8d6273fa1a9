/* PDM words from the input to samples on the output, and what a millisecond of them costs. */
#include "kws_pdm.h"
#include "m4.h"

int main(void) {
  static kws_pdm_t pdm;
  uint16_t words[KWS_PDM_CHUNK_WORDS];
  int16_t out[KWS_PDM_CHUNK_WORDS / KWS_PDM_WORDS_A_SAMPLE];
  int32_t gain;
  if (t_read(&gain, sizeof gain) != sizeof gain) return 1;
  kws_pdm_init(&pdm, gain);
  size_t bytes;
  while ((bytes = t_read(words, sizeof words)) != 0) {
    const uint32_t from = t_begin();
    const size_t n = kws_pdm_process(&pdm, words, bytes / sizeof words[0], out);
    if (bytes == sizeof words) t_end("millisecond", from);
    t_write(out, n * sizeof out[0]);
  }
  const uint32_t size = sizeof pdm;
  t_write(&size, sizeof size);
  return 0;
}
