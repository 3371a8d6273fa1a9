#include "app_profile.h"

#ifdef KWS_PROFILE
#include <string.h>

#include "app_watch.h"

#ifndef KWS_PROFILE_CALLS
#define KWS_PROFILE_CALLS 256 /* more than any model has that fits a board; what is beyond is not kept */
#endif

static uint32_t taken[KWS_PROFILE_CALLS];
static uint32_t calls;
static stopwatch_t watch;

void app_profile_clear(void) {
  memset(taken, 0, sizeof taken);
  calls = 0;
}

void app_profile_start(void) { watch = watch_start(); }

uint32_t app_profile_calls(void) { return calls; }
uint32_t app_profile_ticks(uint32_t call) { return call < calls ? taken[call] : 0; }

void kws_app_profile_call(int call, const void *result, uint32_t bytes) {
  const uint32_t ticks = watch_stop(watch); /* first, so that what follows is in no call's time */
  (void)result;
  (void)bytes;
  if (call >= 0 && call < KWS_PROFILE_CALLS) {
    taken[call] += ticks;
    if ((uint32_t)call >= calls) calls = (uint32_t)call + 1;
  }
  watch = watch_start();
}
#endif
