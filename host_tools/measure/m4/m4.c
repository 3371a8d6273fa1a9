/* Start-up, semihosting and instruction counting for QEMU's netduinoplus2 (STM32F405). */
#include "m4.h"

#include <string.h>

#define MAX_REGIONS 64
#define STACK_PAINT 0xA5C35A3Cu

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };

extern uint32_t _stack_start, _stack_end, _data_load, _data_start, _data_end, _bss_start, _bss_end;
extern void (*__init_array_start[])(void), (*__init_array_end[])(void);
int main(void);

static int in_file, out_file, log_file;
static struct {
  const char *name;
  uint64_t sum;
  uint32_t calls;
} regions[MAX_REGIONS];
static uint32_t num_regions;

static int semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static int open_file(const char *name, int mode) {
  const uint32_t block[3] = {(uint32_t)name, (uint32_t)mode, (uint32_t)strlen(name)};
  return semihost(SYS_OPEN, block);
}

static void write_file(int file, const void *data, size_t n) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)data, (uint32_t)n};
  semihost(SYS_WRITE, block);
}

static void close_file(int file) {
  const uint32_t block[1] = {(uint32_t)file};
  semihost(SYS_CLOSE, block);
}

static void print(const char *text) { write_file(log_file, text, strlen(text)); }

static void print_number(uint64_t value) {
  char text[21];
  size_t at = sizeof text - 1;
  text[at] = 0;
  do {
    text[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  print(text + at);
}

static void __attribute__((noreturn)) leave(uint32_t code) {
  close_file(out_file);
  close_file(log_file);
  const uint32_t block[2] = {0x20026u, code}; /* ADP_Stopped_ApplicationExit */
  for (;;) semihost(SYS_EXIT_EXTENDED, block);
}

size_t t_read(void *data, size_t n) {
  const uint32_t block[3] = {(uint32_t)in_file, (uint32_t)data, (uint32_t)n};
  return n - (size_t)semihost(SYS_READ, block);
}

void t_write(const void *data, size_t n) { write_file(out_file, data, n); }

void t_fail(const char *message) {
  print("fail ");
  print(message);
  print("\n");
  leave(1);
}

void t_record(const char *name, uint32_t instructions) {
  uint32_t i = 0;
  while (i < num_regions && strcmp(regions[i].name, name)) i++;
  if (i == MAX_REGIONS) t_fail("more than 64 regions");
  if (i == num_regions) regions[num_regions++].name = name;
  regions[i].sum += instructions - 1; /* the reading itself */
  regions[i].calls++;
}

/* 2 * 1000 instructions between the reads, and one of the two reads. */
static uint32_t calibrate(void) {
  uint32_t begin, end, count = 1000;
  __asm__ volatile("ldr %0, [%3]\n1: subs %2, #1\nbne 1b\nldr %1, [%3]"
                   : "=&r"(begin), "=&r"(end), "+&r"(count)
                   : "r"(0x40000024u)
                   : "memory", "cc");
  return end - begin;
}

/* newlib's assert() and abort() end here. */
void __attribute__((noreturn)) abort(void) { t_fail("abort"); }

static void __attribute__((used, noreturn)) fault(const uint32_t *frame) {
  print("fault cfsr ");
  print_number(*(volatile uint32_t *)0xE000ED28u);
  /* A frame outside of SRAM means that the stack itself overflowed. */
  if ((uint32_t)frame >= 0x20000000u && (uint32_t)frame < 0x2001FFE0u) {
    print(" pc ");
    print_number(frame[6]);
    print(" lr ");
    print_number(frame[5]);
  } else {
    print(" stack overflow");
  }
  print("\n");
  leave(3);
}

static void __attribute__((naked)) fault_entry(void) {
  /* The handler gets a stack of its own at the end of SRAM. */
  __asm__ volatile("mov r0, sp\nldr r1, =0x20020000\nmov sp, r1\nb fault\n.ltorg");
}

static void start(void);
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {&_stack_end,
                                                                                   (void *)start,
                                                                                   (void *)fault_entry,
                                                                                   (void *)fault_entry,
                                                                                   (void *)fault_entry,
                                                                                   (void *)fault_entry,
                                                                                   (void *)fault_entry,
                                                                                   0,
                                                                                   0,
                                                                                   0,
                                                                                   0,
                                                                                   (void *)fault_entry,
                                                                                   (void *)fault_entry,
                                                                                   0,
                                                                                   (void *)fault_entry,
                                                                                   (void *)fault_entry};

static void __attribute__((used, noreturn)) run(void) {
  uint32_t *p = &_stack_start;
  uint32_t *here = (uint32_t *)__builtin_frame_address(0) - 16;
  while (p < here) *p++ = STACK_PAINT;
  memcpy(&_data_start, &_data_load, (size_t)((char *)&_data_end - (char *)&_data_start));
  memset(&_bss_start, 0, (size_t)((char *)&_bss_end - (char *)&_bss_start));
  in_file = open_file("in.bin", 1);   /* rb */
  out_file = open_file("out.bin", 5); /* wb */
  log_file = open_file("log.txt", 5);
  *(volatile uint32_t *)0x40000028u = 0;           /* TIM2->PSC */
  *(volatile uint32_t *)0x4000002Cu = 0xFFFFFFFFu; /* TIM2->ARR */
  *(volatile uint32_t *)0x40000014u = 1;           /* TIM2->EGR: take them */
  *(volatile uint32_t *)0x40000000u = 1;           /* TIM2->CR1: count */
  calibrate();
  const uint32_t ticks = calibrate();
  print("calibration ");
  print_number(ticks);
  print("\n");
  for (void (**f)(void) = __init_array_start; f < __init_array_end; f++) (*f)();
  const int code = main();
  for (uint32_t i = 0; i < num_regions; i++) {
    print("region ");
    print_number(regions[i].sum);
    print(" ");
    print_number(regions[i].calls);
    print(" ");
    print(regions[i].name);
    print("\n");
  }
  p = &_stack_start;
  while (p < &_stack_end && *p == STACK_PAINT) p++;
  print("stack ");
  print_number((uint32_t)((char *)&_stack_end - (char *)p));
  print("\nend ");
  print_number((uint32_t)code);
  print("\n");
  leave((uint32_t)code & 0x7F);
}

static void __attribute__((naked, used)) start(void) {
  /* FPU on (CPACR), then C. */
  __asm__ volatile("ldr r0, =0xE000ED88\nldr r1, [r0]\norr r1, #0xF00000\nstr r1, [r0]\ndsb\nisb\nb run\n.ltorg");
}
