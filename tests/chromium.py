"""Chromium without a screen, as the browser tests drive it."""

import shutil


def start_chromium(*logs: str):
    """A driver that keeps these logs: `browser`, `performance`."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    quiet = "disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
    for flag in ("headless=new", "no-sandbox", *quiet.split()):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
