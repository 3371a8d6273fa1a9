/* ESP-IDF's error type and check. */
#ifndef ESP_ERR_STUB_H
#define ESP_ERR_STUB_H

#include <stdlib.h>

typedef int esp_err_t;
#define ESP_OK 0
#define ESP_FAIL -1
#define ESP_ERR_INVALID_ARG 0x102
#define ESP_ERR_INVALID_STATE 0x103
#define ESP_ERROR_CHECK(x)          \
  do {                              \
    const esp_err_t err_rc_ = (x);  \
    if (err_rc_ != ESP_OK) abort(); \
  } while (0)

#endif
