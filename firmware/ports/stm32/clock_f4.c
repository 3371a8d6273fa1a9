/* STM32F4: clock to full speed from the crystal; where any step does not get ready in time, the internal 16 MHz oscillator. */
#include "stm32.h"

#if KWS_STM32_SERIES == STM32_F4

#ifndef KWS_HSE_HZ
#define KWS_HSE_HZ 8000000u
#endif
#ifndef KWS_HSE_BYPASS
#define KWS_HSE_BYPASS 0 /* 1: a clock signal, no crystal */
#endif
#ifndef KWS_CORE_HZ
#define KWS_CORE_HZ 168000000u
#endif
#define HSI_HZ 16000000u

/* PLL (RM0090 7.3.2): VCO input 1 MHz here (the manual wants 1 to 2), VCO output 100 to 432 MHz. */
#define PLL_M (KWS_HSE_HZ / 1000000u)
#define PLL_P 2u
#define PLL_N (KWS_CORE_HZ / 1000000u * PLL_P)
#define PLL_Q ((PLL_N + 47u) / 48u) /* at most 48 MHz for USB, which is not used */
_Static_assert(KWS_HSE_HZ % 1000000u == 0 && PLL_M >= 2 && PLL_M <= 63, "crystal");
_Static_assert(PLL_N >= 100 && PLL_N <= 432, "core clock out of the PLL's range");

/* APB1 at most 42 MHz, APB2 at most 84 MHz: a quarter and a half, safe up to 168 MHz (180 MHz: 45 and 90). */

/* Above 168 MHz the regulator needs its over-drive (RM0390 5.1.4). */
static int over_drive(void) {
  if (KWS_CORE_HZ <= 168000000u) return 1;
  PWR_CR |= 1u << 16; /* ODEN */
  if (!stm32_wait_for(&PWR_CSR, 1u << 16, 1u << 16)) return 0;
  PWR_CR |= 1u << 17; /* ODSWEN */
  return stm32_wait_for(&PWR_CSR, 1u << 17, 1u << 17);
}

static int start_pll(void) {
  RCC_CR |= (1u << 16) | ((uint32_t)KWS_HSE_BYPASS << 18); /* HSEON, HSEBYP */
  if (!stm32_wait_for(&RCC_CR, 1u << 17, 1u << 17)) return 0;
  RCC_APB1ENR |= 1u << 28; /* PWR */
  PWR_CR |= 3u << 14;      /* voltage scale 1 */
  /* The highest bits (PLLR of some parts, else reserved) stay as after reset. */
  RCC_PLLCFGR =
      (RCC_PLLCFGR & 0xF0000000u) | PLL_M | (PLL_N << 6) | ((PLL_P / 2u - 1u) << 16) | (1u << 22) | (PLL_Q << 24);
  RCC_CR |= 1u << 24; /* PLLON */
  if (!stm32_wait_for(&RCC_CR, 1u << 25, 1u << 25)) return 0;
  if (!over_drive()) return 0;
  const uint32_t latency = (KWS_CORE_HZ - 1u) / 30000000u; /* wait states at 2.7 V and more: one each 30 MHz */
  FLASH_ACR = latency | (7u << 8);                         /* prefetch and both caches */
  if (!stm32_wait_for(&FLASH_ACR, 0xFu, latency)) return 0;
  RCC_CFGR = (RCC_CFGR & ~0xFCF3u) | (5u << 10) | (4u << 13); /* APB1 a quarter, APB2 a half */
  RCC_CFGR = (RCC_CFGR & ~3u) | 2u;                           /* the PLL is the system clock */
  return stm32_wait_for(&RCC_CFGR, 3u << 2, 2u << 2);
}

void stm32_clock_init(stm32_clocks_t *out) {
  if (start_pll()) {
    *out = (stm32_clocks_t){KWS_CORE_HZ, KWS_CORE_HZ / 4, KWS_CORE_HZ / 2, KWS_CORE_HZ / 2};
    return;
  }
  RCC_CFGR &= ~0xFCF3u; /* internal oscillator, no division */
  stm32_wait_for(&RCC_CFGR, 3u << 2, 0);
  RCC_CR &= ~((1u << 24) | (1u << 16));
  *out = (stm32_clocks_t){HSI_HZ, HSI_HZ, HSI_HZ, HSI_HZ};
}

#endif
