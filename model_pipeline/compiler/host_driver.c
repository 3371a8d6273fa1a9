/* Runs compiled plans on the host: as a library for ctypes, or (with KWS_HOST_MAIN) as a program under sanitizers
 * that reads records {u32 model, u32 runs, inputs} from standard input and writes the outputs. Each record begins
 * with a reset of its model; in the library the caller resets.
 * kws_host_models.h is generated: the plans' headers and the table `models`. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  void (*put)(void *, const int8_t *inputs); /* all of them, one after the other; so does take() */
  int (*invoke)(void *);
  void (*take)(void *, int8_t *outputs);
  void (*reset)(void *);
  uint32_t input_bytes, output_bytes;
  void *arena;
} host_model_t;

#include "kws_host_models.h"

static uint8_t *trace_at;
static size_t trace_left;

/* Results of all calls, one after the other, as far as there is room. */
void kws_host_trace(int call, const void *result, uint32_t bytes);
void kws_host_trace(int call, const void *result, uint32_t bytes) {
  (void)call;
  if (!trace_at || bytes > trace_left) return;
  memcpy(trace_at, result, bytes);
  trace_at += bytes;
  trace_left -= bytes;
}

void kws_host_set_trace(void *buffer, size_t bytes);
void kws_host_set_trace(void *buffer, size_t bytes) {
  trace_at = buffer;
  trace_left = bytes;
}

void kws_host_reset(uint32_t model);
void kws_host_reset(uint32_t model) { models[model].reset(models[model].arena); }

void kws_host_run(uint32_t model, const int8_t *in, int8_t *out, size_t runs);
void kws_host_run(uint32_t model, const int8_t *in, int8_t *out, size_t runs) {
  const host_model_t *m = &models[model];
  for (size_t i = 0; i < runs; i++) {
    m->put(m->arena, in + i * m->input_bytes);
    m->invoke(m->arena);
    m->take(m->arena, out + i * m->output_bytes);
  }
}

#ifdef KWS_HOST_MAIN
int main(void) {
  static int8_t block[HOST_LARGEST];
  uint32_t head[2];
  while (fread(head, sizeof head, 1, stdin) == 1) {
    if (head[0] >= sizeof models / sizeof models[0]) return 2;
    const host_model_t *m = &models[head[0]];
    m->reset(m->arena);
    for (uint32_t i = 0; i < head[1]; i++) {
      if (fread(block, m->input_bytes, 1, stdin) != 1) return 2;
      m->put(m->arena, block);
      m->invoke(m->arena);
      m->take(m->arena, block);
      if (fwrite(block, m->output_bytes, 1, stdout) != 1) return 3;
    }
  }
  return 0;
}
#endif
