/* What each kernel call of the plan took, in a build with -DKWS_PROFILE -DKWS_AOT_TRACE=kws_app_profile_call
 * (`kws build --profile`); in any other build there is none of it. */
#ifndef APP_PROFILE_H
#define APP_PROFILE_H

#include <stdint.h>

#ifdef KWS_PROFILE
#define APP_PROFILE 1
void app_profile_clear(void);              /* before the first invoke of an inference */
void app_profile_start(void);              /* right before each invoke */
uint32_t app_profile_calls(void);          /* that the last inference made, at most the room there is; 0: none yet */
uint32_t app_profile_ticks(uint32_t call); /* of the last inference, in all its invokes */
void kws_app_profile_call(int call, const void *result, uint32_t bytes); /* by the plan, after each call */
#else
#define APP_PROFILE 0
static inline void app_profile_clear(void) {}
static inline void app_profile_start(void) {}
static inline uint32_t app_profile_calls(void) { return 0; }
static inline uint32_t app_profile_ticks(uint32_t call) {
  (void)call;
  return 0;
}
#endif

#endif
