/* What a microphone's interrupt puts aside for port_audio_read(): to be included by the one source that has the
 * microphone. */
#ifndef KWS_AUDIO_RING_H
#define KWS_AUDIO_RING_H

#include "cortexm.h"
#include "kws_ring.h"

#define AUDIO_RING 4096u /* samples: a quarter of a second */
KWS_RING_ASSERT(AUDIO_RING);

static int16_t audio_samples[AUDIO_RING];
static kws_ring_t audio_ring;
static volatile uint32_t audio_lost;

static void audio_clear(void) {
  kws_ring_init(&audio_ring, audio_samples, AUDIO_RING);
  audio_lost = 0;
}

/* In the interrupt. All of them, or none where there is no room: a stream has gaps only between blocks. */
static void audio_keep(const int16_t *samples, uint32_t n) {
  if (!kws_ring_put(&audio_ring, samples, n)) audio_lost += n;
}

static int audio_waits(void) { return audio_ring.in != audio_ring.out; }

size_t port_audio_read(int16_t *out, size_t max, uint32_t *dropped) {
  const size_t n = kws_ring_take(&audio_ring, out, max);
  const uint32_t irq = irq_save();
  *dropped = audio_lost;
  audio_lost = 0;
  irq_restore(irq);
  return n;
}

#endif
