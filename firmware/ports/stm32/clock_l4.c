/* STM32L4 and L4+: clock to full speed from the internal 16 MHz oscillator (1 %, good enough for the UART), since these
 * boards carry no crystal for it; where the PLL does not lock in time, that oscillator itself, or the 4 MHz of reset. */
#include "stm32.h"

#if KWS_STM32_SERIES == STM32_L4

#define HSI_HZ 16000000u
#define MSI_HZ 4000000u
/* PLL (RM0432 6.4.4): input 8 MHz, VCO 64 to 344 MHz, output VCO / 2. */
#define PLL_M 2u
#define PLL_N (KWS_CORE_HZ / 4000000u)
_Static_assert(PLL_N * 4000000u == KWS_CORE_HZ && PLL_N >= 8 && PLL_N <= 43, "core clock out of the PLL's range");
_Static_assert(KWS_CORE_HZ <= 120000000u, "core clock above that of any STM32L4+");
/* Above 80 MHz only L4+ goes, with the regulator's boost; a wait state each 16 MHz, there each 20 (RM0432 3.3.3). */
#define BOOST (KWS_CORE_HZ > 80000000u)
#define LATENCY ((KWS_CORE_HZ - 1u) / (BOOST ? 20000000u : 16000000u))

enum { SW_MSI = 0, SW_HSI = 1, SW_PLL = 3 };

static int use(uint32_t source) {
  RCC_CFGR = (RCC_CFGR & ~3u) | source;
  return stm32_wait_for(&RCC_CFGR, 3u << 2, source << 2);
}

static int start_pll(void) {
  RCC_CR &= ~(1u << 24);
  RCC_PLLCFGR = 2u | ((PLL_M - 1u) << 4) | (PLL_N << 8) | (1u << 24); /* from HSI16; R divides by 2 and is on */
  RCC_CR |= 1u << 24;                                                 /* PLLON */
  if (!stm32_wait_for(&RCC_CR, 1u << 25, 1u << 25)) return 0;
  if (BOOST) {
    PWR_CR5 &= ~(1u << 8);                                /* R1MODE: boost */
    if (!stm32_wait_for(&PWR_SR2, 1u << 10, 0)) return 0; /* VOSF */
  }
  FLASH_ACR = LATENCY | (3u << 9); /* both caches; prefetch costs power and gains little with them */
  if (!stm32_wait_for(&FLASH_ACR, 0xFu, LATENCY)) return 0;
  RCC_CFGR = (RCC_CFGR & ~0xF0u) | (8u << 4); /* through half speed for a microsecond (RM0432 5.1.8) */
  if (!use(SW_PLL)) return 0;
  for (uint32_t i = 0; i < 120; i++) __asm volatile("nop");
  RCC_CFGR &= ~0xF0u;
  return 1;
}

void stm32_clock_init(stm32_clocks_t *out) {
  uint32_t hz = MSI_HZ;
  RCC_APB1ENR |= 1u << 28; /* PWR */
  (void)RCC_APB1ENR;
  PWR_CR2 |= 1u << 9; /* IOSV: port G's pins 2 to 15, the Nucleo's LPUART1, have a supply of their own */
  RCC_CR |= 1u << 8;  /* HSION */
  if (stm32_wait_for(&RCC_CR, 1u << 10, 1u << 10)) {
    if (start_pll()) {
      hz = KWS_CORE_HZ;
    } else {
      RCC_CFGR &= ~0xF0u;
      if (use(SW_HSI)) hz = HSI_HZ;
    }
  }
  *out = (stm32_clocks_t){hz, hz, hz, hz}; /* buses undivided */
}

#endif
