/* What the engine does between a reset and the start of its first inference: load, and whatever the first invoke does
 * more than the later ones. On stdin one input; the outputs of three invokes are written. */
#include <string.h>

#include <m4.h>
#include "engine.h"
#include "kws_image.h"
#include "model_config.h"

static int8_t in[KWS_INPUT_BYTES];

int main(void) {
  static const char *const names[3] = {"first", "second", "third"};
  static kws_state_t state;
  const kws_network_t *const network = kws_image.models[0].network;
  void *const memory = state.network0;
  const uint32_t start = t_begin();
  const int error = kws_engine_load();
  network->reset(memory);
  int8_t *const input = network->input(memory);
  t_end("start", start);
  if (error != KWS_ENGINE_OK) t_fail("the engine refuses its model");
  const uint32_t bytes = kws_engine_info()->input_bytes;
  if (t_read(in, bytes) != bytes) t_fail("no input");
  for (int i = 0; i < 3; i++) {
    network->reset(memory); /* the same state each time, so that only what is done once can differ */
    memmove(i ? network->input(memory) : input, in, bytes);
    const uint32_t t = t_begin();
    const int result = network->invoke(memory);
    t_end(names[i], t);
    if (result != 0) t_fail("invoke");
    t_write(network->output(memory), KWS_OUTPUT_BYTES);
  }
  return 0;
}
