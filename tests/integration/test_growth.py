"""What the soak says of memory: by series whose growth is known."""

import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "hostile"))
import growth  # noqa: E402

HOUR, WINDOW = 3600, 12


def series(hours, leak_mib_an_hour, seed=1, held=0):
    """Of a server that grows to its size in the first third, breathes, is attacked, leaks, and holds so many
    MiB but for some seconds every five minutes or so."""
    draw = random.Random(seed)
    samples = []
    next_given_back = 0
    for second in range(int(hours * HOUR)):
        grown = 100 * min(1, 3 * second / (hours * HOUR))
        attacked = draw.uniform(0, 300) if second % 60 < 5 else 0
        if second > next_given_back + 15:
            next_given_back = second + draw.uniform(120, 480)
        has = 0 if second >= next_given_back else held
        leaked = leak_mib_an_hour * second / HOUR
        samples.append((second, 200 + grown + has + attacked + leaked + draw.uniform(0, 2)))
    return samples


class GrowthTest(unittest.TestCase):

    def verdict(self, hours, leak):
        slope, most = growth.in_second_half(series(hours, leak), WINDOW)
        return slope <= most

    def test_a_line_has_the_slope_of_least_squares(self):
        self.assertAlmostEqual(growth.slope([(0, 1), (1, 2), (2, 6)]), 2.5)

    def test_two_hours_find_what_is_more_than_1_mib_an_hour(self):
        self.assertTrue(self.verdict(2, 0))
        self.assertTrue(self.verdict(2, -3))
        self.assertFalse(self.verdict(2, 1.5))

    def test_what_is_given_back_now_and_then_is_no_growth(self):
        for seed in range(20):
            for leak, grows in ((0, False), (2, True)):
                slope, most = growth.in_second_half(series(2, leak, seed, held=10), WINDOW)
                self.assertEqual(slope > most, grows, f"seed {seed}, a leak of {leak} MiB/h: {slope:.2f}")

    def test_five_minutes_find_what_they_can(self):
        self.assertTrue(self.verdict(1 / 12, 0))
        self.assertFalse(self.verdict(1 / 12, 800))

    def test_the_least_of_a_window_is_what_stays(self):
        self.assertEqual(growth.of_windows([(10, 5.0), (12, 90.0), (21, 6.0), (29, 7.0)], 10),
                         [(5 / HOUR, 5.0), (15 / HOUR, 6.0)])


if __name__ == "__main__":
    unittest.main()
