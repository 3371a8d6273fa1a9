/* The STM32F4's microphone driver against a model of RCC, GPIO, SPI2 as I2S and DMA1 stream 3 (RM0090 7.3, 8.4, 28, 10),
 * which acts at every register access. The decimator is the real one: what the driver gives is what it makes of the bits. */
#include "kws_pdm.h"
#include "registers.h"
#include "stm32.h"

void KWS_PDM_Handler(void);

static port_clock_t clock_info = {.core_hz = KWS_CORE_HZ};
const port_clock_t *port_clock(void) { return &clock_info; }

/* Without the model's reaction. */
#define RAW(address) (*cell(address))
enum {
  CR = 0x40023800,
  CFGR = 0x40023808,
  AHB1ENR = 0x40023830,
  APB1ENR = 0x40023840,
  PLLI2SCFGR = 0x40023884,
  SPI_CR2 = 0x40003804,
  SPI_SR = 0x40003808,
  SPI_DR = 0x4000380C,
  I2SCFGR = 0x4000381C,
  I2SPR = 0x40003820,
  LISR = 0x40026000,
  LIFCR = 0x40026008,
  S3CR = 0x40026058,
  S3NDTR = 0x4002605C,
  S3PAR = 0x40026060,
  S3M0AR = 0x40026064,
  S3M1AR = 0x40026068,
  S3FCR = 0x4002606C,
  GPIOB = 0x40020400,
  GPIOC = 0x40020800,
};
#define ISER(n) (0xE000E100u + 4u * (n))
#define ICER(n) (0xE000E180u + 4u * (n))
#define IPR3 0xE000E40Cu

/* ---- the hardware ---- */

static int pll_locks = 1, dma_works = 1, sticks; /* sticks: the stream never lets go of EN */
static int enabled;                              /* in the NVIC */
enum { SOUND, ZEROS, ONES };
static int source;
static uint32_t seed, accesses;
static uint32_t fed; /* blocks since the start */
static int sleeping; /* the microphone's first 10 ms are zeros */

static uint32_t chance(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

static int streaming(void) {
  return dma_works && (RAW(CR) & (1u << 27)) && (RAW(APB1ENR) & (1u << 14)) && (RAW(AHB1ENR) & (1u << 21)) &&
         (RAW(I2SCFGR) & (1u << 10)) && (RAW(SPI_CR2) & 1u) && (RAW(S3CR) & 1u);
}

static uint16_t word_at(uint32_t index) {
  const uint32_t x = (index + 1u) * 2654435761u;
  if (source == ZEROS || (sleeping && index < 5 * 128)) return 0;
  if (source == ONES) return 0xFFFF;
  return (uint16_t)(x >> 11 ^ x >> 3);
}

/* The DMA fills the buffer that CT names, and goes on with the other. */
static void dma_block(void) {
  CHECK(streaming());
  const uint32_t into = RAW(S3CR) & (1u << 19) ? RAW(S3M1AR) : RAW(S3M0AR);
  const uint32_t n = RAW(S3NDTR);
  for (uint32_t i = 0; i < n; i++) ((uint16_t *)into)[i] = word_at(fed * n + i);
  fed++;
  RAW(S3CR) ^= 1u << 19;
  RAW(LISR) |= (1u << 27) | (1u << 26); /* whole, and half on the way */
}

static int in_interrupt;
static void interrupt(void) {
  in_interrupt = 1;
  if (enabled && (RAW(LISR) >> 22 & 0x28u)) KWS_PDM_Handler(); /* TCIE and TEIE */
  (void)sim_reg(0);
  in_interrupt = 0;
  CHECK(!(RAW(LISR) >> 22 & 0x3Du)); /* all flags are taken back, or it would come again and again */
}

volatile uint32_t *sim_reg(uint32_t address) {
  if (RAW(LIFCR)) {
    RAW(LISR) &= ~RAW(LIFCR);
    RAW(LIFCR) = 0;
  }
  if (RAW(ISER(0))) {
    enabled |= (RAW(ISER(0)) & (1u << 14)) != 0;
    RAW(ISER(0)) = 0;
  }
  if (RAW(ICER(0))) {
    enabled &= !(RAW(ICER(0)) & (1u << 14));
    RAW(ICER(0)) = 0;
  }
  const uint32_t on = RAW(CR) & (1u << 26);
  RAW(CR) = on && pll_locks ? RAW(CR) | (1u << 27) : RAW(CR) & ~(1u << 27);
  if (sticks) RAW(S3CR) |= 1u;
  /* While the driver looks at the stream and waits, time goes on: a block each 2 ms. */
  if (address == S3CR && enabled && !in_interrupt && ++accesses % 8 == 0) {
    cortexm_millis += 2;
    if (streaming()) {
      dma_block();
      interrupt();
    }
  }
  return cell(address);
}

/* ---- tests ---- */

static int16_t expected[40000];
static uint32_t num_expected;

/* What the decimator gives for the blocks from the start on. */
static void reckon(uint32_t blocks) {
  static kws_pdm_t reference;
  uint16_t words[128];
  kws_pdm_init(&reference, KWS_MICROPHONE_GAIN_Q12);
  num_expected = 0;
  for (uint32_t b = 0; b < blocks; b++) {
    for (uint32_t i = 0; i < 128; i++) words[i] = word_at(b * 128 + i);
    num_expected += kws_pdm_process(&reference, words, 128, expected + num_expected);
  }
}

static void start(void) {
  fed = 0;
  CHECK(port_audio_start(16000) == 0);
}

static void test_registers(void) {
  start();
  /* Clock: the PLL's input is 1 MHz. */
  const uint32_t n = RAW(PLLI2SCFGR) >> 6 & 0x1FFu, r = RAW(PLLI2SCFGR) >> 28 & 7u;
  CHECK(n >= 100 && n <= 432 && r >= 2); /* the VCO's range, in MHz */
  CHECK(!(RAW(CFGR) & (1u << 23)));
  const uint32_t divider = 2u * (RAW(I2SPR) & 0xFFu) + (RAW(I2SPR) >> 8 & 1u);
  CHECK((RAW(I2SPR) & 0xFFu) >= 2 && !(RAW(I2SPR) & (1u << 9)));
  const uint32_t hz = n * 1000000u / r / divider;
  CHECK(hz > 1024000u - 102u && hz < 1024000u + 102u); /* 100 ppm */
  CHECK(RAW(I2SCFGR) == ((1u << 11) | (1u << 10) | (3u << 8) | (1u << 4) | (1u << 3)));
  /* Pins: alternate function 5; the data line is pulled down. */
  CHECK((RAW(GPIOB + 0x00) >> 20 & 3u) == 2 && (RAW(GPIOB + 0x24) >> 8 & 15u) == 5);
  CHECK((RAW(GPIOC + 0x00) >> 6 & 3u) == 2 && (RAW(GPIOC + 0x20) >> 12 & 15u) == 5);
  CHECK((RAW(GPIOC + 0x0C) >> 6 & 3u) == 2 && (RAW(GPIOB + 0x0C) >> 20 & 3u) == 0);
  CHECK((RAW(AHB1ENR) & 6u) == 6u);
  /* DMA: channel 0, from SPI2's data register, halfwords, two buffers in turn. */
  const uint32_t cr = RAW(S3CR);
  CHECK((cr >> 25 & 7u) == 0 && (cr >> 6 & 3u) == 0 && (cr & (1u << 18)) && (cr & (1u << 8)));
  CHECK((cr & (1u << 10)) && !(cr & (1u << 9)) && (cr >> 11 & 3u) == 1 && (cr >> 13 & 3u) == 1);
  CHECK(RAW(S3PAR) == SPI_DR && RAW(S3NDTR) == 128 && RAW(S3FCR) == 0);
  const uint32_t apart = RAW(S3M1AR) > RAW(S3M0AR) ? RAW(S3M1AR) - RAW(S3M0AR) : RAW(S3M0AR) - RAW(S3M1AR);
  CHECK(apart >= 256 && RAW(S3M0AR) >= 0x20000000u &&
        RAW(S3M1AR) >= 0x20000000u); /* not in CCM, which it can't reach */
  CHECK((RAW(IPR3) >> 16 & 0xFFu) == 0x80);
  port_audio_stop();
  CHECK(!enabled && !(RAW(S3CR) & 1u) && !(RAW(I2SCFGR) & (1u << 10)) && !(RAW(CR) & (1u << 26)));
  CHECK(!stm32_audio_waits());
  port_audio_stop();
}

static void test_samples(void) {
  CHECK(port_audio_start(8000) == -1);
  sleeping = 1;
  for (int again = 0; again < 3; again++) {
    int16_t out[500];
    uint32_t dropped, taken = 0;
    reckon(600);
    start();
    CHECK(fed > 5 && fed < 12); /* as soon as the microphone is awake */
    while (fed < 600) {
      dma_block();
      interrupt();
      const size_t n = port_audio_read(out, chance(500), &dropped);
      CHECK(dropped == 0);
      for (size_t i = 0; i < n; i++) CHECK(out[i] == expected[50 * 32 + taken + i]); /* after the settling */
      taken += n;
    }
    CHECK(taken > 500 * 32);
    port_audio_stop();
  }
  sleeping = 0;
}

static void test_a_reader_that_sleeps(void) {
  int16_t out[500];
  uint32_t dropped, lost = 0;
  size_t n = 0, part;
  reckon(50 + 200);
  start();
  while (fed < 50 + 200) { /* the ring has 128 blocks */
    dma_block();
    interrupt();
  }
  do {
    part = port_audio_read(out, 500, &dropped);
    lost += dropped;
    for (size_t i = 0; i < part; i++) CHECK(out[i] == expected[50 * 32 + n + i]);
    n += part;
  } while (part);
  CHECK(n == 128 * 32 && lost == 72 * 32);
  port_audio_stop();
}

static void test_what_is_lost_on_the_way_is_counted(void) {
  int16_t out[500];
  uint32_t dropped;
  start();
  while (fed < 60) {
    dma_block();
    interrupt();
  }
  (void)port_audio_read(out, 500, &dropped);
  CHECK(dropped == 0);
  dma_block(); /* two blocks, one interrupt: the first was overwritten in part, or will be */
  dma_block();
  interrupt();
  (void)port_audio_read(out, 500, &dropped);
  CHECK(dropped == 32);
  dma_block(); /* and it is in step again */
  interrupt();
  (void)port_audio_read(out, 500, &dropped);
  CHECK(dropped == 0);
  RAW(SPI_SR) = 1u << 6; /* overrun */
  dma_block();
  interrupt();
  RAW(SPI_SR) = 0;
  (void)port_audio_read(out, 500, &dropped);
  CHECK(dropped == 1);
  RAW(LISR) |= 1u << 25; /* a transfer error: the hardware has switched the stream off */
  RAW(S3CR) &= ~1u;
  interrupt();
  CHECK(RAW(S3CR) & 1u);
  (void)port_audio_read(out, 500, &dropped);
  CHECK(dropped == 32);
  for (int i = 0; i < 3; i++) {
    dma_block();
    interrupt();
  }
  CHECK(port_audio_read(out, 500, &dropped) == 96 && dropped == 0);
  port_audio_stop();
}

static void fails(void) {
  const uint32_t from = cortexm_millis;
  fed = 0;
  CHECK(port_audio_start(16000) == -1);
  CHECK(cortexm_millis - from < 60);
  CHECK(!enabled && !(RAW(I2SCFGR) & (1u << 10)) && !stm32_audio_waits());
}

static void test_what_is_missing_is_told(void) {
  for (source = ZEROS; source <= ONES; source++) fails(); /* nothing, or something dead, on the line */
  source = SOUND;
  pll_locks = 0;
  fails();
  pll_locks = 1;
  dma_works = 0; /* as in emulators */
  fails();
  dma_works = 1;
  clock_info.core_hz = 16000000; /* the crystal did not start */
  fails();
  clock_info.core_hz = KWS_CORE_HZ;
  sticks = 1;
  fails();
  sticks = 0;
  RAW(S3CR) = 0;
  start();
  port_audio_stop();
}

int main(void) {
  test_registers();
  test_samples();
  test_a_reader_that_sleeps();
  test_what_is_lost_on_the_way_is_counted();
  test_what_is_missing_is_told();
  test_samples();
  return 0;
}

int stm32_wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value) {
  (void)reg; /* a cell: the model has to act between two looks */
  for (uint32_t i = 0; i < 100; i++) {
    (void)sim_reg(0);
    if ((*reg & mask) == value) return 1;
  }
  return 0;
}
