/* The application but for the port: link -> samples -> front end -> feature window -> engine -> detector -> events. */
#ifndef KWS_APP_H
#define KWS_APP_H

#ifdef __cplusplus
extern "C" {
#endif

/* After port_init(). Sends READY. */
void kws_app_init(void);
/* One step of the main loop; returns 0 if there was nothing to do. */
int kws_app_poll(void);

#ifdef __cplusplus
}
#endif
#endif
