/* The host's stand-in for ../m4.h: standard input and output, and nanoseconds instead of instructions. */
#ifndef KWS_HOST_M4_H
#define KWS_HOST_M4_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline size_t t_read(void *data, size_t n) { return fread(data, 1, n, stdin); }

static inline void t_write(const void *data, size_t n) {
  if (fwrite(data, 1, n, stdout) != n) exit(3);
}

static inline uint32_t t_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

static inline uint32_t t_begin(void) { return t_now(); }
/* Of one region only: told at the end on standard error. */
static uint64_t t_sum;
static inline void t_tell(void) { fprintf(stderr, "%llu\n", (unsigned long long)t_sum); }
static inline void t_end(const char *name, uint32_t begin) {
  (void)name;
  if (!t_sum) atexit(t_tell);
  t_sum += t_now() - begin;
}

#endif
