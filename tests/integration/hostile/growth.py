"""Whether memory grows for good, by what was measured every so often."""

import statistics

MOST_MIB_AN_HOUR = 1.0
WINDOWS = 4  # of the second half: in each of a long soak, memory that is not needed is given back a few times


def of_windows(samples, seconds):
    """The least of each window of so many seconds, as (middle of the window in hours, MiB): attacks and
    bursts come and go, and what stays is what counts. `samples` are (seconds, MiB), in order."""
    windows = {}
    for when, mib in samples:
        index = int((when - samples[0][0]) // seconds)
        windows[index] = min(mib, windows.get(index, mib))
    return [((index + 0.5) * seconds / 3600, mib) for index, mib in sorted(windows.items())]


def slope(points):
    """Of the line with the least squares, per unit of the first coordinate."""
    return statistics.linear_regression(*zip(*points)).slope


def resolvable(hours):
    """The least growth, in MiB an hour, that says something after so many hours. The heap of a server
    under load settles for long: the second half of 4 minutes grew at 220 MiB/h without a leak. What is
    left of that falls with the time that has passed, and so does its share of the time that is measured."""
    return max(MOST_MIB_AN_HOUR, hours ** -2)


def in_second_half(samples, window_seconds):
    """(MiB an hour, and how much is too much) of the second half of the samples, in WINDOWS windows, or in
    fewer of `window_seconds`."""
    half = (samples[-1][0] - samples[0][0]) / 2
    second = [sample for sample in samples if sample[0] - samples[0][0] >= half]
    points = of_windows(second, max(window_seconds, half / WINDOWS))[:WINDOWS]
    return slope(points), resolvable(half / 3600)
