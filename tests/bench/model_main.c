/* Runs a compiled plan on every input it is given. With KWS_BENCH_TRACE each call of the plan is a region of its own. */
#include <string.h>

#include "m4.h"
#include "model_aot.h"

#ifdef KWS_BENCH_TRACE
#include "bench_names.h" /* generated: static const char *const names[] */

static uint32_t last;

void kws_bench_trace(int call, const void *result, uint32_t bytes);
void kws_bench_trace(int call, const void *result, uint32_t bytes) {
  (void)result;
  (void)bytes;
  const uint32_t now = t_now();
  t_record(names[call], now - last - KWS_BENCH_CALL);
  last = t_now();
}
#endif

int main(void) {
  static int8_t in[KWS_AOT_INPUT_BYTES];
  while (t_read(in, sizeof in) == sizeof in) {
    memcpy(kws_aot_input(), in, sizeof in);
    const uint32_t t = t_begin();
#ifdef KWS_BENCH_TRACE
    last = t_now();
#endif
    kws_aot_invoke();
    t_end("invoke", t);
    t_write(kws_aot_output(), KWS_AOT_OUTPUT_BYTES);
  }
  return 0;
}
