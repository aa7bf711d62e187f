"""A module whose import takes a while: no other thread is kept from running meanwhile."""

import time

time.sleep(0.5)
ONE = 1
