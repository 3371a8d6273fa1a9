/* MLPerf Tiny's application: EEMBC's serial protocol over a port, the compiled plan behind it (docs/mlperf.md).
 *
 * A command is at most 80 characters and ends with %; whatever was answered, "m-ready" comes last. What is longer, or is not
 * a command, is answered with e-[...] and changes nothing. */
#include "kws_app.h"

#include <string.h>

#include "mlperf_text.h"
#include "model_aot.h"
#include "port.h"
#if __has_include("kws_build.h")
#include "kws_build.h"
#endif

#ifndef KWS_MLPERF_MODEL
#define KWS_MLPERF_MODEL "kws01" /* the benchmark that the runner takes its inputs for */
#endif
#ifndef KWS_MLPERF_ENERGY
#define KWS_MLPERF_ENERGY 0 /* 1: a timestamp is a falling edge of a pin, for the energy monitor */
#endif
#define VENDOR "micro-kws"
#define FIRMWARE "ULPMark for tinyML Firmware V0.0.1" /* the profile's name: runners know the protocol by it */

#define COMMAND_CHARS 80u
#define TERMINATOR '%'
#define PRINTED_BYTES 8u   /* of `db print`, a line */
#define DEFAULT_WARM_UP 10 /* inferences before the measured ones, where `infer` does not say */

#define OUTPUTS (KWS_AOT_OUTPUT_BYTES / sizeof(KWS_AOT_OUTPUT_TYPE))
_Static_assert(sizeof(KWS_AOT_INPUT_TYPE) == 1 && sizeof(KWS_AOT_OUTPUT_TYPE) == 1, "values of one byte");
_Static_assert(KWS_AOT_STEP_FRAMES == 0, "each inference is of an input of its own");

/* ---- the model ---- */

static _Alignas(8) uint8_t memory[KWS_AOT_ARENA_BYTES];
/* What `db` loads. Apart from the plan's memory, whose input the activations overwrite. */
static uint8_t buffer[KWS_AOT_INPUT_BYTES];
static uint32_t expected, filled; /* bytes that `db load` promised, and of them those that came */
static KWS_AOT_OUTPUT_TYPE output[OUTPUTS];
static int has_output;

static void infer(void) {
  memcpy(kws_aot_input(memory), buffer, sizeof buffer);
  kws_aot_invoke(memory);
}

/* ---- time ---- */

static uint64_t ticks; /* of the port's counter since the start; the counter itself wraps */
static uint32_t last_look;

/* At least once while the counter goes round: each turn of the main loop and each inference. */
static void look_at_clock(void) {
  const uint32_t now = port_ticks();
  ticks += (uint32_t)(now - last_look);
  last_look = now;
}

static uint64_t microseconds(void) {
  const uint32_t hz = port_clock()->hz;
  look_at_clock();
  if (!hz) return (uint64_t)port_millis() * 1000u;
  return ticks / hz * 1000000u + ticks % hz * 1000000u / hz;
}

static void timestamp(void) {
#if KWS_MLPERF_ENERGY
  /* The energy monitor wants at least a microsecond; a filter in the runner takes less than 50 for noise. */
  text_flush();
  const uint64_t until = microseconds() + 100;
  port_led(0); /* the pin: see timestamp in boards/ */
  for (uint32_t i = 0; i < 1000000u && microseconds() < until; i++) {}
  port_led(1);
#else
  text_flush(); /* before the time is taken: what goes out takes ten bit times a character */
  const uint64_t now = microseconds();
  text_put("m-lap-us-");
  text_number(now);
  text_put("\r\n");
  text_flush();
#endif
}

/* ---- commands ---- */

static void error(const char *text) {
  text_put("e-[");
  text_put(text);
  text_put("]\r\n");
}

static void say_number(const char *before, uint64_t number, const char *after) {
  text_put(before);
  text_number(number);
  text_put(after);
}

/* The next word of a command, which ends where the word does; NULL: there is none. */
static char *word(char **rest) {
  char *at = *rest;
  while (*at == ' ') at++;
  if (!*at) return NULL;
  char *const from = at;
  while (*at && *at != ' ') at++;
  if (*at) *at++ = 0;
  *rest = at;
  return from;
}

static int is(const char *one, const char *other) { return strcmp(one, other) == 0; }

/* What atoi() makes of it, but never beyond INT32_MAX. */
static int32_t number(const char *text) {
  const int negative = *text == '-';
  int32_t value = 0;
  if (*text == '-' || *text == '+') text++;
  for (; *text >= '0' && *text <= '9'; text++) {
    const int32_t digit = *text - '0';
    value = value > (INT32_MAX - digit) / 10 ? INT32_MAX : value * 10 + digit;
  }
  return negative ? -value : value;
}

static int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static void results(void) {
  const union {
    uint32_t bits;
    float value;
  } scale = {KWS_AOT_OUTPUT_SCALE_BITS};
  if (!has_output) {
    error("There are no results before the first inference");
    return;
  }
  text_put("m-results-[");
  for (size_t i = 0; i < OUTPUTS; i++) {
    if (i) text_put(",");
    text_thousandths((float)((int32_t)output[i] - (int32_t)KWS_AOT_OUTPUT_ZERO_POINT) * scale.value);
  }
  text_put("]\r\n");
}

static void on_infer(char *rest) {
  const char *const count = word(&rest), *const before = count ? word(&rest) : NULL;
  const int32_t n = count ? number(count) : 1, warm_up = before ? number(before) : DEFAULT_WARM_UP;
  if (n <= 0) {
    error("At least one inference");
  } else if (warm_up < 0) {
    error("No fewer than 0 inferences to warm up");
  } else if (expected != sizeof buffer || filled != sizeof buffer) {
    say_number("e-[An input has ", sizeof buffer, " bytes: load them first]\r\n");
  } else {
    say_number("m-warmup-start-", (uint64_t)warm_up, "\r\n");
    text_flush();
    for (int32_t i = 0; i < warm_up; i++) {
      infer();
      look_at_clock();
      port_watchdog_feed();
    }
    text_put("m-warmup-done\r\n");
    say_number("m-infer-start-", (uint64_t)n, "\r\n");
    timestamp();
    for (int32_t i = 0; i < n; i++) {
      infer();
      look_at_clock();
      port_watchdog_feed();
    }
    timestamp();
    memcpy(output, kws_aot_output(memory), sizeof output);
    has_output = 1;
    text_put("m-infer-done\r\n");
    results();
  }
}

static void on_load(const char *count) {
  const int32_t n = count ? number(count) : 0;
  if (n <= 0) {
    error("db load takes a number of bytes");
  } else if ((uint32_t)n > sizeof buffer) {
    say_number("e-[There is room for ", sizeof buffer, " bytes]\r\n");
  } else {
    expected = (uint32_t)n;
    filled = 0;
    say_number("m-[Expecting ", expected, " bytes]\r\n");
  }
}

static void on_bytes(const char *digits) {
  const size_t n = strlen(digits);
  for (size_t i = 0; i < n; i++) {
    if (nibble(digits[i]) < 0) {
      error("Not a hexadecimal digit");
      return;
    }
  }
  if (n & 1u) {
    error("Half a byte");
    return;
  }
  if (filled == expected) {
    error("No bytes are expected: db load comes first");
    return;
  }
  /* `expected` is never more than the buffer has; digits beyond it do not count. */
  for (size_t i = 0; i < n && filled < expected; i += 2) {
    buffer[filled++] = (uint8_t)(nibble(digits[i]) << 4 | nibble(digits[i + 1]));
  }
  if (filled == expected) text_put("m-load-done\r\n");
}

static void on_print(void) {
  for (uint32_t i = 0; i < expected; i++) {
    text_put(i % PRINTED_BYTES ? "-" : "m-buffer-");
    text_hex(buffer[i]);
    if (i % PRINTED_BYTES == PRINTED_BYTES - 1 || i + 1 == expected) text_put("\r\n");
  }
  if (expected % PRINTED_BYTES) text_put("\r\n"); /* as the reference has it */
}

static void on_db(char *rest) {
  const char *const what = word(&rest);
  if (!what) error("db takes load, print or bytes");
  else if (is(what, "load")) on_load(word(&rest));
  else if (is(what, "print")) on_print();
  else on_bytes(what);
}

static void help(void) {
  text_put(FIRMWARE "\r\n\r\n"
                    "name            what this is\r\n"
                    "profile         the protocol and the benchmark's model\r\n"
                    "timestamp       now\r\n"
                    "db load N       the next input has N bytes\r\n"
                    "db HH..         some of them, as hexadecimal digits\r\n"
                    "db print        the bytes that are there\r\n"
                    "infer [N [W]]   N inferences after W that are not measured\r\n"
                    "results         of the last one\r\n");
}

static void run(char *rest) {
  const char *const command = word(&rest);
  if (!command) return; /* a terminator alone */
  if (is(command, "name")) {
    text_put("m-name-dut-[" VENDOR "]\r\n");
  } else if (is(command, "timestamp")) {
    timestamp();
  } else if (is(command, "profile")) {
    text_put("m-profile-[" FIRMWARE "]\r\nm-model-[" KWS_MLPERF_MODEL "]\r\n");
  } else if (is(command, "help")) {
    help();
  } else if (is(command, "db")) {
    on_db(rest);
  } else if (is(command, "infer")) {
    on_infer(rest);
  } else if (is(command, "results")) {
    results();
  } else {
    text_put("e-[Unknown command: ");
    text_echo(command, COMMAND_CHARS);
    text_put("]\r\n");
  }
}

/* ---- from bytes to commands ---- */

static char command[COMMAND_CHARS + 1];
static size_t command_length; /* COMMAND_CHARS + 1: it was longer */

static void take(char c) {
  if (c == '\r' || c == '\n') return; /* a terminal's */
  if (c != TERMINATOR) {
    if (command_length < COMMAND_CHARS) command[command_length] = c ? c : '?'; /* a zero would hide what follows it */
    if (command_length <= COMMAND_CHARS) command_length++;
    return;
  }
  if (command_length > COMMAND_CHARS) {
    say_number("e-[A command has at most ", COMMAND_CHARS, " characters]\r\n");
  } else {
    command[command_length] = 0;
    run(command);
  }
  command_length = 0;
  text_put("m-ready\r\n");
  text_flush();
}

void kws_app_init(void) {
  last_look = port_ticks();
  kws_aot_reset(memory);
  text_put(KWS_MLPERF_ENERGY ? "m-timestamp-mode-energy\r\n" : "m-timestamp-mode-performance\r\n");
  timestamp(); /* also leaves the pin high */
  text_put("m-init-done\r\nm-ready\r\n");
  text_flush();
}

int kws_app_poll(void) {
  uint8_t chunk[64];
  look_at_clock();
  const size_t n = port_serial_read(chunk, sizeof chunk);
  for (size_t i = 0; i < n; i++) take((char)chunk[i]);
  return n != 0;
}
