import pytest

from sync.mapping.units import is_ucum, ucum_of


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("mGycm", "mGy.cm"),
        ("mGy.cm", "mGy.cm"),
        ("mGy*cm", "mGy.cm"),
        ("Gym2", "Gy.m2"),
        ("dGycm2", "dGy.cm2"),
        ("uGym2", "uGy.m2"),
        ("Gy·m²", "Gy.m2"),
        ("µGy", "uGy"),
        ("uAs", "uA.s"),
        ("mAs", "mA.s"),
        ("X-ray sources", "1"),
        ("no units", "1"),
        ("HU", "[hnsf'U]"),
        ("mmHg", "mm[Hg]"),
        ("{pulse}/s", "{pulse}/s"),
        ("{SUVbw}g/ml", "g{SUVbw}/ml"),
        ("10*-6.mm2/s", "10*-6.mm2/s"),
        ("cm2/ml", "cm2/ml"),
        ("/min", "/min"),
        ("%", "%"),
    ],
)
def test_spellings_of_vendors_become_ucum(written, code):
    assert ucum_of(written) == code


@pytest.mark.parametrize("written", ["furlong", "x", "mm mm", "m//s", "Gy.", "{a b}", "{", "ü", "mm^2", "."])
def test_what_ucum_does_not_have_is_none(written):
    assert ucum_of(written) is None
    assert not is_ucum(written)
