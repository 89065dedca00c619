"""Starts Beam's worker in the image, once the secrets are in its environment. The launcher is started without it."""

import os
import sys

import credentials

BOOT = "/opt/apache/beam/boot"

if __name__ == "__main__":
    credentials.fill(os.environ)
    os.execv(BOOT, [BOOT, *sys.argv[1:]])
