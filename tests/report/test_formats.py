import pytest

from eed_edge.report import formats

CASES = [
    (formats.percent, 0.4813, "48.1 %"),
    (formats.percent, None, "–"),
    (formats.interval, [0.46, 0.503], "46.0–50.3 %"),
    (formats.interval, None, ""),
    (formats.points, 0.016, "+1.6 points"),
    (formats.points, -0.0004, "−0.04 points"),
    (formats.points, 0.0, "0.0 points"),
    (formats.points_interval, [-0.0267, -0.00008], "−2.7 to −0.01"),
    (formats.points_apart, -0.0134, "1.3 points"),
    (formats.points_apart, 0.01, "1.0 point"),
    (formats.points, -0.2, "−20.0 points"),
    (formats.times, 1.856, "1.86×"),
    (formats.ms, 0.16472, "0.165 ms"),
    (formats.ms, 1.5273, "1.53 ms"),
    (formats.ms, 23.45, "23.4 ms"),
    (formats.ms, 1234.5, "1,234 ms"),
    (formats.seconds, 61.25, "61.2 s"),
    (formats.seconds, 301.0, "5 min"),
    (formats.seconds, 9000.0, "2 h 30 min"),
    (formats.amount, 6_287_578, "6.29 M"),
    (formats.amount, 130_000, "130 k"),
    (formats.amount, 12, "12"),
    (formats.mib, 2**20, "1.00 MiB"),
    (formats.images, 1, "1 image"),
    (formats.images, 2000, "2,000 images"),
    (
        formats.settings,
        {"eps": 8.0, "losses": ["a", "b"], "clip": True, "n": None},
        "eps 8; losses a, b; clip yes; n none",
    ),
]


@pytest.mark.parametrize(("form", "value", "text"), CASES)
def test_a_kind_of_number_is_written_in_one_way(form, value, text):
    assert form(value).replace("\N{NO-BREAK SPACE}", " ") == text
