"""What the soak says of memory: by series whose growth is known."""

import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "hostile"))
import growth  # noqa: E402

HOUR, WINDOW = 3600, 12


def series(hours, leak_mib_an_hour, seed=1):
    """Of a server that grows to its size in the first third, breathes, is attacked, and leaks."""
    draw = random.Random(seed)
    samples = []
    for second in range(int(hours * HOUR)):
        grown = 100 * min(1, 3 * second / (hours * HOUR))
        attacked = draw.uniform(0, 300) if second % 60 < 5 else 0
        leaked = leak_mib_an_hour * second / HOUR
        samples.append((second, 200 + grown + attacked + leaked + draw.uniform(0, 2)))
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

    def test_five_minutes_find_what_they_can(self):
        self.assertTrue(self.verdict(1 / 12, 0))
        self.assertFalse(self.verdict(1 / 12, 800))

    def test_the_least_of_a_window_is_what_stays(self):
        self.assertEqual(growth.of_windows([(10, 5.0), (12, 90.0), (21, 6.0), (29, 7.0)], 10),
                         [(5 / HOUR, 5.0), (15 / HOUR, 6.0)])


if __name__ == "__main__":
    unittest.main()
