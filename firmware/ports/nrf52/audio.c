/* PDM microphone with EasyDMA, double buffered in blocks of 10 ms; blocks go into a ring by interrupt. */
#include "nrf52.h"

#ifdef KWS_PDM_CLK_PIN

#include "audio_ring.h"

#define BLOCK 160u
/* The microphone needs some 20 ms of clock to wake up, and PDM's high-pass filter to settle: never heard, not lost. */
#define SETTLING_BLOCKS 8u
#define CLKCTRL_1280K 0x0A000000u
#define RATIO_80 1u /* 1.28 MHz / 80 = 16 kHz exactly */
#define MODE_MONO 1u
#define GAIN (0x28 + 2 * KWS_MICROPHONE_GAIN_DB) /* half decibels; 0x28 is 0 dB */
_Static_assert(GAIN >= 0 && GAIN <= 0x50, "kws.microphone.gain_db: PDM has -20 to 20 dB");
/* A microphone that has its clock drives the data line within 20 ms; a line that nobody drives lies where it is pulled. */
#define WAKE_MS 25u
#define PULL_MS 5u
#define PROOF 16u /* readings against the pull: more than a neighbour's edges make */

static int16_t block[2][BLOCK];
static uint32_t filled, given; /* the block that END is about, and the one that PDM got last */
static volatile uint32_t settling;
static volatile int running;

/* Whether the data line is seen at `level` although it is pulled to the other one, while PDM gives its clock. */
static int driven(uint32_t pull, uint32_t level, uint32_t ms) {
  GPIO_CNF(KWS_PDM_DIN_PIN) = pull;
  const uint32_t from = cortexm_millis;
  uint32_t seen = 0, turn = 0;
  do {
    /* Of unequal length, or readings could all fall in the half of the clock in which a microphone lets go. */
    for (volatile uint32_t wait = turn++ % 13u; wait; wait--) {}
    const uint32_t now = GPIO_IN(KWS_PDM_DIN_PIN) >> (KWS_PDM_DIN_PIN & 31u) & 1u;
    if (now == level && ++seen >= PROOF) return 1;
  } while (cortexm_millis - from < ms);
  return 0;
}

static int has_microphone(void) {
  const int found = driven(GPIO_CNF_INPUT_PULLDOWN, 1, WAKE_MS) || driven(GPIO_CNF_INPUT_PULLUP, 0, PULL_MS);
  GPIO_CNF(KWS_PDM_DIN_PIN) = GPIO_CNF_INPUT;
  return found;
}

int port_audio_start(uint32_t sample_rate_hz) {
  if (sample_rate_hz != 16000u) return -1;
  port_audio_stop();
#ifdef KWS_PDM_POWER_PIN
  GPIO_OUTSET(KWS_PDM_POWER_PIN) = GPIO_MASK(KWS_PDM_POWER_PIN);
  GPIO_CNF(KWS_PDM_POWER_PIN) = GPIO_CNF_OUTPUT;
#endif
  GPIO_OUTCLR(KWS_PDM_CLK_PIN) = GPIO_MASK(KWS_PDM_CLK_PIN);
  GPIO_CNF(KWS_PDM_CLK_PIN) = GPIO_CNF_OUTPUT;
  GPIO_CNF(KWS_PDM_DIN_PIN) = GPIO_CNF_INPUT;
  PDM_PSEL_CLK = KWS_PDM_CLK_PIN;
  PDM_PSEL_DIN = KWS_PDM_DIN_PIN;
  PDM_CLKCTRL = CLKCTRL_1280K;
  PDM_RATIO = RATIO_80;
  PDM_MODE = MODE_MONO;
  PDM_GAINL = GAIN;
  PDM_GAINR = GAIN;
  filled = given = 0;
  audio_clear();
  settling = SETTLING_BLOCKS;
  running = 1;
  PDM_SAMPLE_PTR = (uint32_t)block[0];
  PDM_SAMPLE_MAXCNT = BLOCK;
  PDM_EV_STARTED = 0;
  PDM_EV_END = 0;
  PDM_EV_STOPPED = 0;
  PDM_ENABLE = 1;
  PDM_INTENSET = PDM_INT_STARTED | PDM_INT_END;
  NVIC_ISER(PDM_IRQ / 32) = 1u << (PDM_IRQ % 32);
  PDM_START = 1;
  if (has_microphone()) return 0;
  port_audio_stop();
  return -1;
}

void port_audio_stop(void) {
  if (!running) return;
  running = 0;
  PDM_STOP = 1;
  /* It finishes its block: 10 ms. Bounded, since a stopped oscillator must not stop us. */
  const uint32_t from = cortexm_millis;
  while (!PDM_EV_STOPPED && cortexm_millis - from < 20u) {}
  PDM_INTENCLR = PDM_INT_STARTED | PDM_INT_END;
  PDM_ENABLE = 0;
#ifdef KWS_PDM_POWER_PIN
  GPIO_OUTCLR(KWS_PDM_POWER_PIN) = GPIO_MASK(KWS_PDM_POWER_PIN);
#endif
}

static void keep(const int16_t *samples) {
  if (settling) {
    settling--;
    return;
  }
  audio_keep(samples, BLOCK);
}

void PDM_Handler(void) {
  const uint32_t entered = cortexm_ticks();
  /* END of one block comes before STARTED of the next; both may wait here. */
  if (PDM_EV_END) {
    PDM_EV_END = 0;
    if (running) keep(block[filled]);
    filled ^= 1u;
  }
  if (PDM_EV_STARTED) {
    PDM_EV_STARTED = 0; /* the pointer was taken: give the one for the block after */
    given ^= 1u;
    PDM_SAMPLE_PTR = (uint32_t)block[given];
  }
  (void)PDM_EV_STARTED; /* the writes have to arrive before the interrupt ends */
  cortexm_interrupt_ticks += cortexm_ticks() - entered;
}

int nrf52_audio_waits(void) { return running && audio_waits(); }

#else

int nrf52_audio_waits(void) { return 0; }
#include "no_audio.h"
void PDM_Handler(void) {}

#endif
