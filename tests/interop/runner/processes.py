"""Every program the suite starts, so that none outlives it."""

import os
import signal
import subprocess

_started = []


def start(command, **options):
    """Starts a program in a session of its own, so that what it starts can be ended with it."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    _started.append(process)
    return process


def kill(process):
    """Ends a program and all it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def kill_all():
    for process in _started:
        kill(process)


def end_with_us():
    """Interrupted or told to end, the suite takes everything with it."""

    def stop(number, _):
        kill_all()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
