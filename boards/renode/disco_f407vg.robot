*** Settings ***
Documentation     The STM32F4 Discovery: audio over USART2.
...               kws build --board disco_f407vg && renode-test boards/renode/disco_f407vg.robot
Resource          ${CURDIR}/kws.resource
Test Setup        Start Firmware    disco_f407vg.resc    ${ELF}
Test Teardown     Stop Firmware
Test Timeout      10 minutes

*** Variables ***
${ELF}            ${CURDIR}/../../build/disco_f407vg/firmware.elf

*** Test Cases ***
The Link Loses Nothing
    Device Should Pass    soak    frames=1000

Features Give What TensorFlow Lite Micro Gives
    Device Should Pass    exact inference    windows=20

Sound Gives What The Host Gives
    Device Should Pass    exact stream

Noise Is No Keyword
    Device Should Pass    silence and noise

Overload Loses Nothing Uncounted
    Device Should Pass    overload

Faults Are Recorded
    Device Should Pass    undefined instruction
    Device Should Pass    stack overflow

The Watchdog Bites
    Device Should Pass    watchdog

Restart
    Device Should Pass    restart
