from __future__ import annotations

import pytest

from qa.scenario.conditions import ConditionError, parse_condition

VALUES = {"${accel}": "tcg", "${empty}": "", "${text}": "two words == three"}


def holds(text: str) -> bool:
    return parse_condition(text).holds(lambda value: VALUES.get(value, value))


@pytest.mark.parametrize(
    "text",
    [
        "${accel} == tcg",
        "${accel} != kvm",
        "${accel}==tcg",
        "not ${accel} == kvm",
        "${accel}",
        "not ${empty}",
        "${empty} == ''",
        "not false",
        "not no and not 0 and not off",
        "${accel} == kvm or ${accel} == tcg",
        "a == b and a == a or a == a",
        "a == a or a == a and a == b",
        "${text} == 'two words == three'",
        '"a b" == "a b"',
    ],
)
def test_is_true(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text", ["${accel} == kvm", "${empty}", "False", "not ${accel}", "a == b or a == c", "a == a and a == b", "''"]
)
def test_is_false(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    "text", ["", "a =", "a = b", "a == ", "== a", "a b", "(a)", "a and", "or a", "not", "a == 'b", "a ! b", "a && b"]
)
def test_is_not_in_the_language(text: str) -> None:
    with pytest.raises(ConditionError):
        parse_condition(text)
