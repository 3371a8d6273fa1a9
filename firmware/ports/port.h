/* All that the application knows of the machine under it. One folder of firmware/ports implements it. */
#ifndef KWS_PORT_H
#define KWS_PORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What port_ticks() counts. The firmware never claims more than it knows: whether a tick is an
 * instruction (QEMU -icount) is for the host to conclude from the calibration below. */
typedef struct {
  const char *source;            /* "DWT", "TIM2", "SYSTICK", "CLOCK_MONOTONIC" */
  uint32_t hz;                   /* nominal ticks a second on real hardware; 0 if unknown */
  uint32_t core_hz;              /* core clock actually reached; 0 if unknown */
  uint32_t calibration_expected; /* instructions of the calibration loop; 0: none on this port */
  uint32_t calibration_ticks;    /* ticks that it took */
} port_clock_t;

typedef struct {
  uint32_t rx_bytes;
  uint32_t tx_bytes;
  uint32_t rx_ring_overflow; /* bytes dropped because the receive ring was full */
  uint32_t rx_overrun;       /* hardware overrun errors */
  uint32_t rx_framing;       /* hardware framing, noise and parity errors */
} port_serial_stats_t;

typedef enum {
  PORT_RESET_UNKNOWN = 0,
  PORT_RESET_POWER = 1,
  PORT_RESET_PIN = 2,
  PORT_RESET_SOFTWARE = 3,
  PORT_RESET_WATCHDOG = 4,
  PORT_RESET_FAULT = 5, /* a fault handler ended the previous run */
} port_reset_reason_t;

typedef enum {
  PORT_FAULT_HARD = 1,
  PORT_FAULT_MEMORY = 2,
  PORT_FAULT_BUS = 3,
  PORT_FAULT_USAGE = 4,
  PORT_FAULT_STACK = 5,
  PORT_FAULT_WATCHDOG = 6,
  PORT_FAULT_ABORT = 7,
} port_fault_kind_t;

/* What ended the previous run, kept in RAM that a reset leaves alone. Fields that a port can't know are 0. */
typedef struct {
  uint32_t kind; /* port_fault_kind_t */
  uint32_t pc, lr, cfsr, hfar, sp, uptime_ms;
} port_fault_t;

typedef enum { PORT_DIE_UNDEFINED = 0, PORT_DIE_STACK = 1, PORT_DIE_HANG = 2 } port_die_t;

typedef struct {
  uint32_t stack_bytes; /* reserved; 0 if unknown */
  uint32_t stack_used;  /* the deepest so far */
  uint32_t free_ram;    /* RAM that nothing is placed in */
} port_memory_t;

void port_init(void);                                    /* clocks, serial, timing; bounded waits only */
size_t port_serial_read(uint8_t *out, size_t max);       /* never blocks */
size_t port_serial_write(const uint8_t *data, size_t n); /* bounded wait; returns what was taken */
void port_serial_stats(port_serial_stats_t *out);
size_t port_serial_capacity(void); /* bytes that can wait to be read without loss */
uint32_t port_ticks(void);         /* free-running, wraps; unit described by port_clock() */
uint32_t port_own_ticks(void);     /* the same less those that interrupts took, both of one moment: for measurements */
const port_clock_t *port_clock(void);
uint32_t port_millis(void);
void port_watchdog_feed(void); /* to be called from the main loop all the time: 5 s without it end the run */
void port_idle(void); /* sleep until the next interrupt or about a millisecond; returns at once if input waits */
int port_audio_start(uint32_t sample_rate_hz); /* 0, or -1: no microphone here */
size_t port_audio_read(int16_t *out, size_t max, uint32_t *dropped);
void port_audio_stop(void);
void port_led(int on); /* lit for a moment at each detection */
port_reset_reason_t port_reset_reason(void);
const port_fault_t *port_fault(void); /* the record that the previous run left, or NULL */
void port_memory(port_memory_t *out);
int port_die(port_die_t kind); /* ends this run on purpose; returns -1 if this port has no such end */
void port_reset(void) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif
#endif
