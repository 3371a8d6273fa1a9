/* PDM to PCM: a MEMS microphone's stream of single bits at 1.024 MHz to samples at 16 kHz.
 *
 * A CIC of order 5 takes one of 16 (Hogenauer, "An economical class of digital filters for decimation and interpolation",
 * 1981), a FIR of 128 taps, which also undoes the CIC's droop, one of 4; then the offset is taken away (a high-pass of
 * 10 Hz) and the gain given. Flat within 0.06 dB to 7 kHz, and what folds into that band is 71 dB down
 * (tests/support/pdm.py has the design and measures it). Integers throughout: the same bits give the same samples
 * everywhere. */
#ifndef KWS_PDM_H
#define KWS_PDM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KWS_PDM_ORDER 5
#define KWS_PDM_TAPS 128
#define KWS_PDM_WORDS_A_SAMPLE 4 /* of 16 bits */
#define KWS_PDM_CHUNK_WORDS 64   /* what is filtered at a time: a millisecond */
#define KWS_PDM_GAIN_1 4096      /* a bit stream of ones only gives 32767 */

typedef struct {
  uint32_t integrator[KWS_PDM_ORDER], comb[KWS_PDM_ORDER]; /* these wrap, as they may in a CIC */
  int32_t offset;                                          /* 2^13 for one of the samples */
  int32_t gain;
  int16_t history[KWS_PDM_TAPS - KWS_PDM_WORDS_A_SAMPLE + KWS_PDM_CHUNK_WORDS];
} kws_pdm_t;

/* gain: in units of 1 / KWS_PDM_GAIN_1, at most 32 times that. What is louder than a sample can be is cut off. */
void kws_pdm_init(kws_pdm_t *pdm, int32_t gain);

/* Takes `words` times 16 bits, the first of each in its highest bit, a whole number of samples (what is more is left out);
 * writes a sample for each KWS_PDM_WORDS_A_SAMPLE of them. Returns the number of samples. */
size_t kws_pdm_process(kws_pdm_t *pdm, const uint16_t *bits, size_t words, int16_t *out);

#ifdef __cplusplus
}
#endif
#endif
