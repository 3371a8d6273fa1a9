/* A ring of samples between a microphone's interrupt, which writes, and the main loop, which reads. One of each; the
 * memory is the caller's, a power of two of samples. */
#ifndef KWS_RING_H
#define KWS_RING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define KWS_RING_STATIC_ASSERT static_assert
#else
#define KWS_RING_STATIC_ASSERT _Static_assert
#endif

#define KWS_RING_ASSERT(samples) \
  KWS_RING_STATIC_ASSERT((samples) > 0 && ((samples) & ((samples) - 1)) == 0, "a ring's size is a power of two")

typedef struct {
  int16_t *samples;
  uint32_t size;
  volatile uint32_t in, out; /* samples ever written and read; each has one writer */
} kws_ring_t;

static inline void kws_ring_init(kws_ring_t *r, int16_t *samples, uint32_t size) {
  r->samples = samples;
  r->size = size;
  r->in = r->out = 0;
}

/* Not while another may write or read. */
static inline void kws_ring_clear(kws_ring_t *r) { r->in = r->out = 0; }

static inline size_t kws_ring_room(const kws_ring_t *r) { return r->size - (r->in - r->out); }

/* Where to write, and how much in one piece; then wrote() says how much it was. */
static inline int16_t *kws_ring_free(const kws_ring_t *r, size_t *n) {
  const uint32_t in = r->in, at = in & (r->size - 1), room = r->size - (in - r->out), to_end = r->size - at;
  *n = room < to_end ? room : to_end;
  return r->samples + at;
}
static inline void kws_ring_wrote(kws_ring_t *r, size_t n) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the samples first */
  r->in = r->in + (uint32_t)n;
}

/* What waits, in one piece; then read() says how much was used. */
static inline const int16_t *kws_ring_filled(const kws_ring_t *r, size_t *n) {
  const uint32_t out = r->out, at = out & (r->size - 1), waiting = r->in - out, to_end = r->size - at;
  *n = waiting < to_end ? waiting : to_end;
  return r->samples + at;
}
static inline void kws_ring_read(kws_ring_t *r, size_t n) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  r->out = r->out + (uint32_t)n;
}

/* The same with copies. put(): all of them, or none (0) where there is no room; take(): at most max, how many. */
static inline int kws_ring_put(kws_ring_t *r, const int16_t *samples, size_t n) {
  if (kws_ring_room(r) < n) return 0;
  for (size_t done = 0; done < n;) {
    size_t piece;
    int16_t *const to = kws_ring_free(r, &piece);
    if (piece > n - done) piece = n - done;
    for (size_t i = 0; i < piece; i++) to[i] = samples[done + i];
    kws_ring_wrote(r, piece);
    done += piece;
  }
  return 1;
}
static inline size_t kws_ring_take(kws_ring_t *r, int16_t *out, size_t max) {
  size_t done = 0, piece;
  for (;;) {
    const int16_t *const from = kws_ring_filled(r, &piece);
    if (piece > max - done) piece = max - done;
    if (piece == 0) return done;
    for (size_t i = 0; i < piece; i++) out[done + i] = from[i];
    kws_ring_read(r, piece);
    done += piece;
  }
}

#ifdef __cplusplus
}
#endif
#endif
