/* Runs compiled plans: reads {u32 model, u32 runs, inputs} records until the input ends, writes the outputs. */
#include "m4.h"

typedef struct {
  int8_t *(*input)(void *);
  int (*invoke)(void *);
  void (*reset)(void *);
  const int8_t *(*output)(void *);
  uint32_t input_bytes, output_bytes;
  void *arena;
  const char *name;
} model_t;

#include "nn_m4_models.h"

int main(void) {
  uint32_t head[2];
  while (t_read(head, sizeof head) == sizeof head) {
    if (head[0] >= sizeof models / sizeof models[0]) t_fail("no such model");
    const model_t *m = &models[head[0]];
    m->reset(m->arena);
    for (uint32_t i = 0; i < head[1]; i++) {
      if (t_read(m->input(m->arena), m->input_bytes) != m->input_bytes) t_fail("the input is short");
      const uint32_t t = t_begin();
      m->invoke(m->arena);
      t_end(m->name, t);
      t_write(m->output(m->arena), m->output_bytes);
    }
  }
  return 0;
}
