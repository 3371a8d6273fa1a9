*** Settings ***
Documentation     The Arduino Nano 33 BLE without Arduino: audio over UART0, and by the PDM microphone.
...               kws build --board nano33ble_uart && renode-test boards/renode/nano33ble_uart.robot
Resource          ${CURDIR}/kws.resource
Test Setup        Start Firmware    nano33ble_uart.resc    ${ELF}
Test Teardown     Stop Firmware
Test Timeout      10 minutes

*** Variables ***
${ELF}            ${CURDIR}/../../build/nano33ble_uart/firmware.elf
${SPEECH}         ${EMPTY}
${WORD}           yes

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

The Microphone Hears A Keyword
    [Documentation]    SPEECH is a file of 16 kHz, s16le, one channel, in which WORD is said after a second of quiet.
    Skip If    '${SPEECH}' == ''    no recording: --variable SPEECH:file.raw --variable WORD:yes
    ${recording}=    Recording    ${SPEECH}
    Execute Command    sysbus.pdm SetInputFile ${recording}
    Microphone Should Hear    ${WORD}
