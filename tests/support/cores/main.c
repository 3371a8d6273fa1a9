/* A library's own five lines on a bare core: sound.raw from the host's current folder by semihosting, a line a word. */
#include <stdint.h>

#include "front_door.h"

extern uint32_t stack_top, bss_start, bss_end;

enum {
  SYS_OPEN = 1,
  SYS_WRITE0 = 4,
  SYS_READ = 6,
  SYS_EXIT = 0x18,
  APPLICATION_EXIT = 0x20026,
  RUN_TIME_ERROR = 0x20023
};

static uint32_t host(uint32_t operation, const void *argument) {
  register uint32_t r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = argument;
  __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static void end(uint32_t reason) {
  for (;;) host(SYS_EXIT, (const void *)(uintptr_t)reason);
}

static void fault(void) { end(RUN_TIME_ERROR); }

static void number(uint32_t value, char after) {
  char text[12], *at = text + sizeof text - 2;
  at[0] = after;
  at[1] = '\0';
  do *--at = (char)('0' + value % 10u);
  while ((value /= 10u) != 0);
  host(SYS_WRITE0, at);
}

static void on_word(void *user, const front_door_word_t *word) {
  (void)user;
  number(word->position, ' ');
  host(SYS_WRITE0, word->label);
  host(SYS_WRITE0, " ");
  number(word->score, '\n');
}

static front_door_t k;
static int16_t pcm[160];

static void start(void) {
  for (uint32_t *p = &bss_start; p < &bss_end; p++) *p = 0;
  static const char name[] = "sound.raw";
  const uint32_t open[3] = {(uint32_t)(uintptr_t)name, 1 /* "rb" */, sizeof name - 1};
  const uint32_t file = host(SYS_OPEN, open);
  if (file == UINT32_MAX || front_door_init(&k) != 0) end(RUN_TIME_ERROR);
  for (;;) {
    const uint32_t read[3] = {file, (uint32_t)(uintptr_t)pcm, sizeof pcm};
    const uint32_t missing = host(SYS_READ, read);
    if (missing >= sizeof pcm) end(APPLICATION_EXIT);
    front_door_feed(&k, pcm, (sizeof pcm - missing) / 2, on_word, 0);
  }
}

__attribute__((section(".vectors"), used)) static const struct {
  void *stack;
  void (*handlers[15])(void);
} vectors = {&stack_top,
             {start, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault}};
