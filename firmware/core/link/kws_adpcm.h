/* IMA ADPCM (IMA Digital Audio Focus and Technical Working Groups, "Recommended Practices ...", 1992): four bits a sample,
 * for links that are too slow for sixteen. Integer only, no heap. */
#ifndef KWS_ADPCM_H
#define KWS_ADPCM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int16_t predictor; /* the last sample as the decoder has it */
  uint8_t step;      /* index into the table of steps, 0..88 */
} kws_adpcm_t;

/* The code (0..15) of one sample; the state becomes the decoder's after it. */
uint8_t kws_adpcm_encode(kws_adpcm_t *state, int16_t sample);

#ifdef __cplusplus
}
#endif
#endif
