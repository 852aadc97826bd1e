"""Sessions: a sequence that stays, is forked, rewound, saved and loaded, and always goes on as a fresh one would."""

from __future__ import annotations

import gc
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import axiom
from axiom.body import Backend
from axiom.runtime import Runtime
from tests.backends import ENGINES
from tests.models import SMALL

MODEL = SMALL | {"n_ctx": 96}


@pytest.fixture(scope="module", params=ENGINES)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    with axiom.Runtime(random_model(**MODEL), backend=request.param, n_seq_max=6, threads=1) as opened:
        yield opened


def fresh(runtime: Runtime, tokens: list[int] | tuple[int, ...], n: int = 6) -> tuple[int, ...]:
    """What a runtime without any memory generates after `tokens`."""
    return runtime.generate(list(tokens), max_tokens=n, seed=1, ignore_eos=True).tokens


def test_append_and_generate_go_on_as_a_fresh_prompt_would(runtime: Runtime) -> None:
    with runtime.session() as session:
        n = session.append("Hello")
        assert n == len(session) == len(session.tokens)
        assert list(session.tokens) == runtime.tokenizer.encode("Hello")
        assert session.append(" there") == len(session)
        first = session.generate(max_tokens=6, seed=1, ignore_eos=True)
        prompt = session.tokens[: len(session) - 6]
        assert first.tokens == session.tokens[-6:] == fresh(runtime, prompt)
        assert first.usage.prompt_tokens == len(prompt)
        second = session.generate(" and", max_tokens=6, seed=1, ignore_eos=True)
        assert second.tokens == fresh(runtime, session.tokens[:-6])
        assert session.text == runtime.tokenizer.decode(session.tokens)


def test_a_text_goes_on_where_the_last_one_ended(runtime: Runtime) -> None:
    tokenizer = runtime.tokenizer
    bos = tokenizer.bos_id
    assert bos is not None
    with runtime.session() as session:
        for text in ("Hel", "lo", " the", "re"):
            session.append(text)
        assert session.text == "Hello there"
        said = session.generate(max_tokens=6, seed=1, ignore_eos=True)
        assert session.text == "Hello there" + said.text
    # After a special token a text begins.
    with runtime.session() as session:
        session.append([bos])
        session.append("Hello")
        assert list(session.tokens) == tokenizer.encode("Hello")


def test_an_answer_begins_with_its_space(runtime: Runtime) -> None:
    """Only after a prompt without any text is the space before a text taken away."""
    tokenizer = runtime.tokenizer
    bos = tokenizer.bos_id
    assert bos is not None
    space = next(id for id in range(tokenizer.n_vocab) if tokenizer.token_bytes(id) == b" ")
    for prompt, text in (([space], " "), ([bos, space], " "), ([bos], ""), ([bos, bos], "")):
        said = runtime.generate(prompt, max_tokens=1, logit_bias={space: 1e9}, ignore_eos=True)
        assert said.tokens == (space,)
        assert said.text == text, prompt


def test_only_what_is_new_is_computed(runtime: Runtime) -> None:
    with runtime.session() as session:
        session.append(list(range(3, 63)))
        got = session.generate([5, 6], max_tokens=2, seed=1, ignore_eos=True)
        assert got.timings.prefill_tokens == 2
        again = session.generate(max_tokens=2, seed=1, ignore_eos=True)
        # The last token of the generation before has not been computed yet.
        assert again.timings.prefill_tokens == 1
        assert session.telemetry["n_tokens"] == 66
        assert session.telemetry["n_ctx"] == 96


def test_rewind(runtime: Runtime) -> None:
    with runtime.session() as session:
        session.append(list(range(3, 43)))
        session.generate(max_tokens=6, seed=1)
        session.rewind(20)
        assert session.tokens == tuple(range(3, 23))
        assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, range(3, 23))
        session.rewind(20)
        assert session.generate([99], max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(
            runtime, [*range(3, 23), 99]
        )
        session.rewind(0)
        assert len(session) == 0
        for n in (-1, 1):
            with pytest.raises(ValueError, match="n_tokens: expected a number from 0 to 0"):
                session.rewind(n)


def test_forks_go_their_own_ways(runtime: Runtime) -> None:
    with runtime.session() as session:
        session.append(list(range(3, 43)))
        with session.fork() as fork:
            assert fork.tokens == session.tokens
            assert fork.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, range(3, 43))
            session.append([7, 8, 9])
            assert session.tokens == (*range(3, 43), 7, 8, 9)
            assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(
                runtime, [*range(3, 43), 7, 8, 9]
            )
        assert session.generate(max_tokens=1, seed=1).tokens


def test_advance_to_keeps_what_is_the_same(runtime: Runtime) -> None:
    with runtime.session() as session:
        assert session.advance_to(list(range(3, 43))) == 0
        assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, range(3, 43))
        wanted = [*range(3, 33), 99, 98]
        assert session.advance_to(wanted) == 30
        assert session.tokens == tuple(wanted)
        got = session.generate(max_tokens=6, seed=1, ignore_eos=True)
        assert got.tokens == fresh(runtime, wanted)
        assert got.timings.prefill_tokens == 2
        assert session.advance_to(wanted) == 32
        assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, wanted)


def test_save_and_load(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "session"
    with runtime.session() as session:
        session.append(list(range(3, 43)))
        session.generate(max_tokens=3, seed=1, ignore_eos=True)
        session.save(path)
        tokens = session.tokens
        assert [p.name for p in tmp_path.iterdir()] == ["session"]
        session.rewind(5)
        session.load(path)
        assert session.tokens == tokens
        assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, tokens)
    with runtime.load_session(path) as loaded:
        assert loaded.tokens == tokens
        assert loaded.generate([9], max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, [*tokens, 9])


@pytest.mark.parametrize("backend", ENGINES)
def test_loading_needs_no_second_sequence(backend: Backend, random_model: Callable[..., Path], tmp_path: Path) -> None:
    from axiom.session_file import write_session_file

    with axiom.Runtime(random_model(**MODEL), backend=backend, n_seq_max=1, threads=1) as alone:
        after_40, after_3 = fresh(alone, range(3, 43)), fresh(alone, [3, 4, 5])
        with alone.session() as session:
            session.append(list(range(3, 43)))
            session.save(tmp_path / "session")
            session.rewind(0)
            session.append([3, 4, 5])
            # Only the engine sees that these are bad, when it has freed the sequence for them.
            for state in (b"", alone.engine.call(lambda engine: engine.seq_save(session._sequence().number))):
                write_session_file(tmp_path / "bad", alone.gguf.header_digest(), [3, 4], len(state), [state])
                with pytest.raises(ValueError, match="bad: "):
                    session.load(tmp_path / "bad")
                assert session.tokens == (3, 4, 5)
                assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == after_3
                session.rewind(3)
            session.load(tmp_path / "session")
            assert session.tokens == tuple(range(3, 43))
            assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == after_40
        assert alone.engine.n_open == 0


def test_a_session_outlives_its_model_file(random_model: Callable[..., Path], tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    shutil.copy(random_model(**MODEL), model)
    with axiom.Runtime(model, backend="reference") as runtime, runtime.session() as session:
        session.append([3, 4, 5])
        model.write_bytes(b"another")
        session.save(tmp_path / "session")
    with (
        axiom.Runtime(random_model(**MODEL), backend="reference") as again,
        again.load_session(tmp_path / "session") as loaded,
    ):
        assert loaded.tokens == (3, 4, 5)


def test_both_bodies_save_the_same_bytes(random_model: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
    path = random_model(**MODEL)
    for backend in ("reference", "native"):
        with axiom.Runtime(path, backend=backend) as runtime, runtime.session() as session:
            session.append(list(range(3, 43)))
            session.save(tmp_path / backend)
    assert (tmp_path / "reference").read_bytes() == (tmp_path / "native").read_bytes()
    with axiom.Runtime(path, backend="native") as runtime, runtime.load_session(tmp_path / "reference") as session:
        assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, range(3, 43))


def test_damaged_and_foreign_files_are_refused(
    runtime: Runtime, random_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "session"
    with runtime.session() as session:
        session.append([3, 4, 5])
        session.save(path)
        content = path.read_bytes()
        for at in range(0, len(content), 97):
            damaged = bytearray(content)
            damaged[at] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="session"):
                session.load(path)
        for n in (0, 10, 60, len(content) - 1):
            path.write_bytes(content[:n])
            with pytest.raises(ValueError, match="session"):
                session.load(path)
        path.write_bytes(content + b"x")
        with pytest.raises(ValueError, match=rf"expected {len(content)} bytes, got {len(content) + 1}"):
            session.load(path)
        with pytest.raises(FileNotFoundError):
            session.load(tmp_path / "nothing")
        # Whatever was refused, the session is as it was.
        assert session.tokens == (3, 4, 5)
        assert session.generate(max_tokens=6, seed=1, ignore_eos=True).tokens == fresh(runtime, [3, 4, 5])
    path.write_bytes(content)
    other = random_model(**{**MODEL, "seed": 9, "n_ff": 64})
    with (
        axiom.Runtime(other, backend="reference") as foreign,
        pytest.raises(ValueError, match="the session is of another model"),
    ):
        foreign.load_session(path)


@pytest.mark.parametrize("backend", ENGINES)
def test_a_session_of_other_settings_is_refused_by_its_name(
    backend: Backend, random_model: Callable[..., Path], tmp_path: Path
) -> None:
    model, path = random_model(**MODEL), tmp_path / "session"
    with axiom.Runtime(model, backend="reference") as runtime, runtime.session() as session:
        session.append(list(range(3, 43)))
        session.save(path)
    with (
        axiom.Runtime(model, backend=backend, n_ctx=39) as short,
        pytest.raises(
            axiom.ContextLengthError, match=r"session: expected a session of 39 tokens at most, .* got one of 40"
        ),
    ):
        short.load_session(path)
    with (
        axiom.Runtime(model, backend=backend, kv="f32") as wide,
        pytest.raises(
            ValueError, match=r"session: .* bytes per number: expected 4, got 2; load it with the .* kv that saved"
        ),
    ):
        wide.load_session(path)


@pytest.mark.parametrize("n_tokens", [0, 1, 5])
def test_a_state_in_parts_is_the_state(runtime: Runtime, n_tokens: int) -> None:
    with runtime.session() as session:
        session.append([3, 4, 5, 6, 7][:n_tokens])
        number = session._sequence().number
        n_bytes, parts = runtime.engine.call(lambda engine: engine.seq_save_parts(number))
        state = runtime.engine.call(lambda engine: engine.seq_save(number))
        assert b"".join(parts) == state
        assert n_bytes == len(state)


def test_a_file_with_a_sound_checksum_and_unsound_content_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    from axiom.session_file import write_session_file

    path = tmp_path / "session"
    model = runtime.gguf.header_digest()
    with runtime.session() as session:
        session.append([3, 4, 5])
        state = runtime.engine.call(lambda engine: engine.seq_save(session._sequence().number))
    for tokens, content, message in (
        ([3, 4], state, "expected the state of 2 tokens, got one of 3"),
        ([3, 4, 300], state, "expected tokens from 0 to 299, got 300"),
        ([3, 4, 5], state[:-1], None),
        ([3, 4, 5], b"", None),
        ([3, 4, 5], struct.pack("<Q", 2**63) * 20, None),
    ):
        write_session_file(path, model, tokens, len(content), [content])
        with pytest.raises(ValueError, match=message):
            runtime.load_session(path)
    assert runtime.engine.n_open == 0


def test_no_half_file_is_left_when_writing_fails(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runtime.session() as session:
        session.append([3, 4, 5])
        session.save(tmp_path / "session")
        before = (tmp_path / "session").read_bytes()
        session.append([6])

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            session.save(tmp_path / "session")
        assert [p.name for p in tmp_path.iterdir()] == ["session"]
        assert (tmp_path / "session").read_bytes() == before


def test_too_many_tokens_leave_the_session_as_it_was(runtime: Runtime) -> None:
    with runtime.session() as session:
        session.append([3] * 90)
        with pytest.raises(axiom.ContextLengthError, match="would have 97 tokens, but the context has 96 positions"):
            session.append([4] * 7)
        with pytest.raises(axiom.ContextLengthError):
            session.generate([4] * 6, max_tokens=1)
        with pytest.raises(axiom.ContextLengthError):
            session.advance_to([4] * 97)
        with pytest.raises(ValueError, match="temperature"):
            session.generate([4], temperature=-1.0)
        assert session.tokens == (3,) * 90
        assert session.generate(max_tokens=3, seed=1, ignore_eos=True).tokens == fresh(runtime, [3] * 90, 3)


def test_an_interrupted_append_leaves_the_session_as_it_was(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axiom.session.CHUNK_TOKENS", 8)
    with runtime.session() as session:
        session.append([3] * 10)
        forward, n_calls = runtime.engine.forward, 0

        def interrupted(*args: object) -> object:
            nonlocal n_calls
            n_calls += 1
            if n_calls == 2:
                raise KeyboardInterrupt
            return forward(*args)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(runtime.engine, "forward", interrupted)
            with pytest.raises(KeyboardInterrupt):
                session.append([4] * 20)
        assert session.tokens == (3,) * 10
        assert session.generate(max_tokens=3, seed=1, ignore_eos=True).tokens == fresh(runtime, [3] * 10, 3)


def test_a_session_is_used_by_one_at_a_time(runtime: Runtime) -> None:
    with runtime.session() as session:
        stream = session.stream("Hello", seed=1, ignore_eos=True)
        with pytest.raises(RuntimeError, match="in use by a stream"):
            session.append("x")
        next(stream)
        stream.cancel()
        assert list(stream) == []
        assert session.tokens[-len(stream.result.tokens) :] == stream.result.tokens
        # A stream that is dropped before it began gives the session back too.
        unused = session.stream("Hello")
        del unused
        gc.collect()
        session.append([5])


def test_a_session_can_be_used_where_its_error_is_handled(runtime: Runtime) -> None:
    with runtime.session() as session:
        for fails in (lambda: session.generate(temperature=-1.0), lambda: session.append([4] * 97)):
            try:
                fails()
            except (ValueError, axiom.ContextLengthError):
                session.append([3])
        assert session.tokens == (3, 3)


def test_closing_a_session_ends_its_stream(runtime: Runtime) -> None:
    with runtime.session() as session:
        stream = session.stream("Hello", seed=1, ignore_eos=True)
        next(stream)
    assert stream.result.finish_reason == "cancelled"
    assert list(stream) == []
    assert runtime.engine.n_open == 0


def test_an_empty_session_without_a_prompt_starts_from_the_begin_token(runtime: Runtime) -> None:
    with runtime.session() as session, runtime.session() as empty:
        got = session.generate(max_tokens=4, seed=1, ignore_eos=True)
        assert got.tokens == runtime.generate("", max_tokens=4, seed=1, ignore_eos=True).tokens
        with pytest.raises(ValueError, match="empty"):
            empty.generate([], max_tokens=1)


def test_closed_sessions_say_so(runtime: Runtime) -> None:
    session = runtime.session()
    session.append([3])
    session.close()
    session.close()
    for call in (
        lambda: session.append([3]),
        lambda: session.generate(),
        lambda: session.fork(),
        lambda: session.rewind(0),
    ):
        with pytest.raises(RuntimeError, match=r"the session is closed; open another with Runtime.session\(\)"):
            call()


def test_a_dropped_session_frees_its_sequence(runtime: Runtime) -> None:
    session = runtime.session()
    assert runtime.engine.n_open == 1
    del session
    gc.collect()
    assert runtime.engine.n_open == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 9)),
            st.tuples(st.just("generate"), st.integers(1, 4)),
            st.tuples(st.just("rewind"), st.integers(0, 100)),
            st.tuples(st.just("fork"), st.just(0)),
        ),
        max_size=10,
    )
)
def test_any_history_gives_what_its_tokens_give(runtime: Runtime, steps: list[tuple[str, int]]) -> None:
    session, model = runtime.session(), [3, 4]
    session.append(model)
    try:
        for action, n in steps:
            if len(model) > 60:
                break
            if action == "append":
                new = [5 + (len(model) * 7 + i) % 90 for i in range(n)]
                session.append(new)
                model += new
            elif action == "generate":
                model += session.generate(max_tokens=n, seed=len(model), ignore_eos=True).tokens
            elif action == "rewind":
                model = model[: 1 + n * (len(model) - 1) // 100]
                session.rewind(len(model))
            else:
                old, session = session, session.fork()
                old.close()
            assert list(session.tokens) == model
        assert session.generate(max_tokens=3, seed=1, ignore_eos=True).tokens == fresh(runtime, model, 3)
    finally:
        session.close()
