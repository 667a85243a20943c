"""How long something takes."""

import time

from skorch.callbacks import Callback


class Timed:
    """Seconds of a block, by the clock (`wall`) and of all cores together (`cpu`)."""

    def __enter__(self):
        self.start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error):
        wall, cpu = self.start
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu


def least_seconds(call, repeat):
    """Seconds of a call, the best of some, after one that is not timed."""
    call()
    seconds = []
    for _ in range(repeat):
        with Timed() as took:
            call()
        seconds.append(took.wall)
    return min(seconds)


class Clock(Callback):
    """Notes the time after every training step, or what else counts it."""

    def __init__(self, now=time.perf_counter):
        self.now = now

    def on_train_begin(self, net, **kwargs):
        self.times_ = []

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.times_.append(self.now())
