/* PDM microphone on I2S2, which gives it the clock and takes its bits as they come: DMA1 stream 3 puts them into two
 * buffers in turn, and for each that is full an interrupt makes 2 ms of samples of it (core/pdm). STM32F4 only.
 * RM0090: 7.3.24 PLLI2S, 10.5 DMA, 28.5 SPI and I2S. */
#include "stm32.h"

#ifdef KWS_PDM_CLK_PORT

#include "audio_ring.h"
#include "kws_pdm.h"

#if KWS_STM32_SERIES != STM32_F4
#error "kws.microphone: I2S2 is known for the F4 series"
#endif

/* PLLI2S from the PLL's input of 1 MHz: 213 MHz / 2 / (2 * 52) = 1.02404 MHz, 38 ppm too fast. The microphone (MP45DT02)
 * wants 1 to 3.25 MHz. */
#define PLLI2S_N 213u
#define PLLI2S_R 2u
#define I2S_DIVIDER 52u
#define ALTERNATE_FUNCTION 5u /* I2S2 on any of its pins */

#define BLOCK_SAMPLES 32u
#define BLOCK_WORDS (BLOCK_SAMPLES * KWS_PDM_WORDS_A_SAMPLE)
/* The microphone wakes up within 10 ms, and the decimator's high-pass settles: never heard, not lost. */
#define SETTLING_BLOCKS 50u
#define WAKE_MS 40u
#define PRIORITY 0x80u /* below the serial line's, which has a byte each 20 us and no FIFO */
#define FLAGS_TEIF (1u << 3)
#define FLAGS_TCIF (1u << 5)
#define FLAGS_ALL 0x3Du

static uint16_t block[2][BLOCK_WORDS];
static kws_pdm_t pdm;
static uint32_t settling;
static uint32_t next;               /* the buffer that should be full next */
static volatile int running, heard; /* heard: bits of both kinds have come */

static void pin_to_i2s(uint32_t port, uint32_t pin, uint32_t pull) {
  RCC_GPIOENR |= 1u << port;
  (void)RCC_GPIOENR;
  GPIO_AFR(port, pin) = (GPIO_AFR(port, pin) & ~(15u << 4 * (pin & 7))) | (ALTERNATE_FUNCTION << 4 * (pin & 7));
  GPIO_OSPEEDR(port) |= 1u << 2 * pin;
  GPIO_PUPDR(port) = (GPIO_PUPDR(port) & ~(3u << 2 * pin)) | (pull << 2 * pin);
  GPIO_MODER(port) = (GPIO_MODER(port) & ~(3u << 2 * pin)) | (2u << 2 * pin);
}

static int start_clock(void) {
  RCC_CR &= ~RCC_CR_PLLI2SON;
  RCC_PLLI2SCFGR = (PLLI2S_N << 6) | (PLLI2S_R << 28);
  RCC_CFGR &= ~RCC_CFGR_I2SSRC;
  RCC_CR |= RCC_CR_PLLI2SON;
  return stm32_wait_for(&RCC_CR, RCC_CR_PLLI2SRDY, RCC_CR_PLLI2SRDY);
}

static int start_dma(void) {
  DMA_CR = 0;
  if (!stm32_wait_for(&DMA_CR, DMA_CR_EN, 0)) return 0;
  DMA_LIFCR = FLAGS_ALL << DMA_FLAGS_AT;
  DMA_PAR = SPI2_DR_ADDRESS;
  DMA_M0AR = (uint32_t)block[0];
  DMA_M1AR = (uint32_t)block[1];
  DMA_NDTR = BLOCK_WORDS;
  DMA_FCR = 0; /* no FIFO: halfword to halfword */
  DMA_CR = DMA_CR_CHANNEL0 | DMA_CR_DBM | DMA_CR_PRIORITY_HIGH | DMA_CR_MEMORY_16 | DMA_CR_PERIPHERAL_16 | DMA_CR_MINC |
           DMA_CR_CIRC | DMA_CR_TCIE | DMA_CR_TEIE;
  DMA_CR |= DMA_CR_EN;
  return 1;
}

int port_audio_start(uint32_t sample_rate_hz) {
  if (sample_rate_hz != 16000u) return -1;
  port_audio_stop();
  if (port_clock()->core_hz != KWS_CORE_HZ) return -1; /* no crystal: the PLL's input is not what is reckoned with */
  if (!start_clock()) return -1;
  RCC_DMAENR |= RCC_DMA1EN;
  RCC_APB1ENR |= RCC_SPI2EN;
  (void)RCC_APB1ENR;
  pin_to_i2s(KWS_PDM_CLK_PORT, KWS_PDM_CLK_PIN, 0);
  pin_to_i2s(KWS_PDM_DIN_PORT, KWS_PDM_DIN_PIN, 2); /* down: a line that nobody drives is all zeros */
  kws_pdm_init(&pdm, KWS_MICROPHONE_GAIN_Q12);
  audio_clear();
  settling = SETTLING_BLOCKS;
  next = 0;
  heard = 0;
  running = 1;
  SPI2_I2SCFGR = 0;
  SPI2_I2SPR = I2S_DIVIDER;
  /* 16 bits a channel, one channel after the other: all bits of the line. The clock idles high, as ST has it on this board. */
  SPI2_I2SCFGR = I2SCFGR_I2SMOD | I2SCFGR_MASTER_RECEIVE | I2SCFGR_MSB_JUSTIFIED | I2SCFGR_CKPOL;
  SPI2_CR2 = SPI_CR2_RXDMAEN;
  if (start_dma()) {
    const uint32_t shift = 8u * (DMA1_STREAM3_IRQ % 4u);
    NVIC_IPR(DMA1_STREAM3_IRQ / 4) = (NVIC_IPR(DMA1_STREAM3_IRQ / 4) & ~(0xFFu << shift)) | (PRIORITY << shift);
    NVIC_ISER(DMA1_STREAM3_IRQ / 32) = 1u << (DMA1_STREAM3_IRQ % 32);
    SPI2_I2SCFGR |= I2SCFGR_I2SE;
    const uint32_t from = cortexm_millis;
    while (!heard && cortexm_millis - from < WAKE_MS) (void)DMA_CR;
  }
  if (heard) return 0;
  port_audio_stop(); /* no transfers, as in an emulator, or no microphone on the line */
  return -1;
}

void port_audio_stop(void) {
  if (!running) return;
  running = 0;
  NVIC_ICER(DMA1_STREAM3_IRQ / 32) = 1u << (DMA1_STREAM3_IRQ % 32);
  SPI2_I2SCFGR &= ~I2SCFGR_I2SE;
  SPI2_CR2 = 0;
  DMA_CR &= ~DMA_CR_EN;
  stm32_wait_for(&DMA_CR, DMA_CR_EN, 0);
  DMA_LIFCR = FLAGS_ALL << DMA_FLAGS_AT;
  NVIC_ICPR(DMA1_STREAM3_IRQ / 32) = 1u << (DMA1_STREAM3_IRQ % 32);
  RCC_CR &= ~RCC_CR_PLLI2SON; /* the microphone's clock stands: it sleeps */
}

static void keep(const uint16_t *bits) {
  int16_t samples[BLOCK_SAMPLES];
  if (!heard) {
    for (uint32_t i = 0; i < BLOCK_WORDS && !heard; i++) heard = bits[i] != 0 && bits[i] != 0xFFFFu;
  }
  kws_pdm_process(&pdm, bits, BLOCK_WORDS, samples);
  if (settling) {
    settling--;
    return;
  }
  audio_keep(samples, BLOCK_SAMPLES);
}

void KWS_PDM_Handler(void) {
  const uint32_t entered = cortexm_ticks(), others = cortexm_interrupt_ticks;
  const uint32_t flags = DMA_LISR >> DMA_FLAGS_AT & FLAGS_ALL;
  DMA_LIFCR = flags << DMA_FLAGS_AT;
  if (SPI2_SR & SPI_SR_OVR) { /* cleared by reading both, DR first */
    (void)SPI2_DR;
    (void)SPI2_SR;
    audio_lost++;
  }
  if (running && (flags & FLAGS_TCIF)) {
    const uint32_t full = DMA_CR & DMA_CR_CT ? 0 : 1; /* the other one is being filled */
    if (full != next) audio_lost += BLOCK_SAMPLES;    /* we are late: one was filled a second time */
    next = full ^ 1u;
    keep(block[full]);
  }
  if (running && (flags & FLAGS_TEIF)) { /* the hardware has switched the stream off */
    audio_lost += BLOCK_SAMPLES;
    next = 0;
    start_dma();
  }
  (void)DMA_LISR; /* the writes have to arrive before the interrupt ends */
  /* Interrupts of a higher priority came in between, and have counted themselves. */
  const uint32_t irq = irq_save();
  const uint32_t theirs = cortexm_interrupt_ticks - others;
  cortexm_interrupt_ticks += cortexm_ticks() - entered - theirs;
  irq_restore(irq);
}

int stm32_audio_waits(void) { return running && audio_waits(); }

#else

int stm32_audio_waits(void) { return 0; }
#include "no_audio.h"

#endif
