/* What newlib asks of a system, which bare metal has not. TensorFlow Lite Micro and the C++ run time refer to it, but a
 * sound image never gets here: whatever does ends the run by a fault, which is recorded and told, instead of a heap or
 * a file that nobody has planned. On other systems the C library brings these. */
#if defined(__arm__) && !defined(__linux__) && !defined(ARDUINO)

#include <stddef.h>

#define NEVER(type, name, ...) \
  type name(__VA_ARGS__);      \
  type name(__VA_ARGS__) { __builtin_trap(); }

NEVER(void *, _sbrk, ptrdiff_t more __attribute__((unused))) /* a heap */
NEVER(__attribute__((noreturn)) void, _exit, int status __attribute__((unused)))
NEVER(int, _kill, int process __attribute__((unused)), int signal __attribute__((unused))) /* abort() */
NEVER(int, _getpid, void)
NEVER(int, _close, int file __attribute__((unused)))
NEVER(int, _fstat, int file __attribute__((unused)), void *into __attribute__((unused)))
NEVER(int, _isatty, int file __attribute__((unused)))
NEVER(int, _lseek, int file __attribute__((unused)), int to __attribute__((unused)), int from __attribute__((unused)))
NEVER(int, _read, int file __attribute__((unused)), char *into __attribute__((unused)),
      int size __attribute__((unused)))
NEVER(int, _write, int file __attribute__((unused)), const char *from __attribute__((unused)),
      int size __attribute__((unused)))

#endif
