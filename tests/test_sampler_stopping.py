"""Stop strings in a stream of pieces, against the definition on the whole text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.generation.stopping import StopMatcher

# Two letters make overlapping prefixes, self-overlaps and strings inside strings the common case.
words = st.text("ab", min_size=1, max_size=5)


def naive(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The definition: the first end, and of the strings that end there the longest."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


@settings(max_examples=2000, deadline=None)
@given(st.lists(words, max_size=4), st.lists(st.text("ab", max_size=6), max_size=8))
def test_stream_equals_definition(stops: list[str], pieces: list[str]) -> None:
    expected, by = naive("".join(pieces), stops)
    matcher = StopMatcher(stops)
    given_out = ""
    for n_pushed, piece in enumerate(pieces, 1):
        given_out += matcher.push(piece)
        so_far = "".join(pieces[:n_pushed])
        if matcher.stopped:
            break
        # Only what may still begin a stop string is held back, and all of that is.
        held = so_far[len(given_out) :]
        assert so_far.startswith(given_out)
        starts = [
            n for n in range(len(so_far) + 1) if any(stop.startswith(so_far[len(so_far) - n :]) for stop in stops)
        ]
        assert len(held) == max(starts, default=0)
    assert matcher.stopped_by == by
    assert given_out + matcher.flush() == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("é🙂\n", min_size=1, max_size=3), max_size=3), st.text("é🙂\n", max_size=20))
def test_characters_beyond_ascii(stops: list[str], text: str) -> None:
    matcher = StopMatcher(stops)
    given_out = ""
    for character in text:
        given_out += matcher.push(character)
        if matcher.stopped:
            break
    assert (given_out + matcher.flush(), matcher.stopped_by) == naive(text, stops)


def test_stop_tokens() -> None:
    matcher = StopMatcher("</s>", tokens=[2, 7])
    assert matcher.push("one <") == "one "
    assert not matcher.push_token(3)
    assert matcher.push_token(7)
    assert matcher.stopped_by == 7
    assert matcher.flush() == "<", "a stop token leaves the text before it whole"


def test_refusals() -> None:
    with pytest.raises(ValueError, match="stop: expected strings of one character or more"):
        StopMatcher(["a", ""])
    with pytest.raises(TypeError, match="stop: expected strings, got 1"):
        StopMatcher([1])  # type: ignore[list-item]
    matcher = StopMatcher("end")
    assert matcher.push("the end of it") == "the "
    with pytest.raises(RuntimeError, match="stopped by 'end'"):
        matcher.push("more")
