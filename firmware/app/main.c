#include "kws_app.h"
#include "port.h"

int main(void) {
  port_init();
  kws_app_init();
  for (;;) {
    port_watchdog_feed();
    if (!kws_app_poll()) port_idle();
  }
}
