/* Runs a compiled plan on every input it is given and writes the outputs. With KWS_PROFILE_CALLS, how many calls the
 * plan has, it ends with what they took, u64 each; with KWS_PROFILE_EMPTY there is no plan, to know what all else takes.
 */
#include <string.h>

#include <m4.h> /* of the target: m4/ or m4/host/ */
#include "model_aot.h"

#ifdef KWS_PROFILE_CALLS
static uint64_t sums[KWS_PROFILE_CALLS];
static uint32_t last;

void kws_profile_trace(int call, const void *result, uint32_t bytes);
void kws_profile_trace(int call, const void *result, uint32_t bytes) {
  (void)result;
  (void)bytes;
  sums[call] += t_now() - last;
  last = t_now();
}
#endif

static int8_t in[KWS_AOT_INPUT_BYTES];

/* In front of and behind an invoke. */
#ifdef KWS_PROFILE_EMPTY
#define kws_aot_reset(arena)
#define kws_aot_invoke(arena)
#define put() memmove(in, in, sizeof in)
#define result() in /* nobody looks: the empty plan has no memory of its own */
#undef KWS_AOT_OUTPUT_BYTES
#define KWS_AOT_OUTPUT_BYTES 1
#else
static _Alignas(8) int8_t arena[KWS_AOT_ARENA_BYTES];
#ifdef KWS_AOT_INPUTS /* several inputs or outputs */
static int8_t out[KWS_AOT_OUTPUT_BYTES];
#define put() kws_aot_put(arena, in)
#define result() (kws_aot_take(arena, out), out)
#else
#define put() memmove(kws_aot_input(arena), in, sizeof in)
#define result() kws_aot_output(arena)
#endif
#endif

int main(void) {
  kws_aot_reset(arena);
  while (t_read(in, sizeof in) == sizeof in) {
    put();
    const uint32_t t = t_begin();
#ifdef KWS_PROFILE_CALLS
    last = t_now();
#endif
    kws_aot_invoke(arena);
    t_end("invoke", t);
    t_write(result(), KWS_AOT_OUTPUT_BYTES);
  }
#ifdef KWS_PROFILE_CALLS
  t_write(sums, sizeof sums);
#endif
  return 0;
}
