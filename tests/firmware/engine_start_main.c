/* What the engine does between a reset and the start of its first inference: load, and whatever the first invoke does
 * more than the later ones. On stdin one input; the outputs of three invokes are written. */
#include <string.h>

#include <m4.h>
#include "engine.h"
#include "model_config.h"

static int8_t in[KWS_INPUT_BYTES];

int main(void) {
  static const char *const names[3] = {"first", "second", "third"};
  const uint32_t start = t_begin();
  const int error = kws_engine_load();
  int8_t *const input = kws_engine_input();
  t_end("start", start);
  if (error != KWS_ENGINE_OK) t_fail("the engine refuses its model");
  const uint32_t bytes = kws_engine_info()->input_bytes;
  if (t_read(in, bytes) != bytes) t_fail("no input");
  for (int i = 0; i < 3; i++) {
    kws_engine_reset(); /* the same state each time, so that only what is done once can differ */
    memmove(i ? kws_engine_input() : input, in, bytes);
    const uint32_t t = t_begin();
    const int result = kws_engine_invoke();
    t_end(names[i], t);
    if (result != KWS_ENGINE_OK) t_fail("invoke");
    t_write(kws_engine_output(), KWS_OUTPUT_BYTES);
  }
  return 0;
}
