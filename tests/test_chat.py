"""Chat templates: rendered as Hugging Face renders them, inside limits that a hostile template cannot pass."""

# ruff: noqa: E501 - tables of cases, one on a line

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.chat import ChatTemplate, checked_messages, chosen_template, named_templates
from axiom.errors import TemplateError

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + "
    "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
USER = [{"role": "user", "content": "Hi"}]


def test_chatml() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *USER]
    expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    assert ChatTemplate(CHATML).render(messages, add_generation_prompt=False) == expected
    assert ChatTemplate(CHATML).render(messages) == expected + "<|im_start|>assistant\n"


def test_special_tokens_and_refusal() -> None:
    template = ChatTemplate(LLAMA2, bos_token="<s>", eos_token="</s>")
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": " U "},
        {"role": "assistant", "content": "A"},
    ]
    assert template.render(messages) == "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n U [/INST] A </s>"
    with pytest.raises(TemplateError, match="refuses these messages: Conversation roles must alternate"):
        template.render([{"role": "assistant", "content": "A"}])


def test_block_whitespace_is_trimmed() -> None:
    template = ChatTemplate(
        "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\nend"
    )
    assert template.render(USER) == "Hi\nend"


def test_tojson_does_not_escape_for_html_and_keeps_unicode() -> None:
    template = ChatTemplate("{{ messages | tojson }} {{ messages | tojson(indent=2) }}")
    messages = [{"role": "user", "content": "<é & 'ü'>"}]
    assert template.render(messages) == json.dumps(messages, ensure_ascii=False) + " " + json.dumps(
        messages, ensure_ascii=False, indent=2
    )


def test_loop_controls_namespace_macro_and_generation() -> None:
    source = (
        "{% macro shout(x) %}{{ x | upper }}!{% endmacro %}{% set ns = namespace(n=0) %}"
        "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}"
        "{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{% generation %}{{ shout('a' ~ 1 ~ none) }}{% endgeneration %}"
    )
    assert ChatTemplate(source).render(USER) == "8A1NONE!"


def test_recursive_loop() -> None:
    source = "{% for x in tree recursive %}({{ x.v }}{{ loop(x.c) }}){% endfor %}"
    tree = [{"v": 1, "c": [{"v": 2, "c": []}]}, {"v": 3, "c": []}]
    assert ChatTemplate(source).render(USER, tree=tree) == "(1(2))(3)"


def test_variables_tools_and_time() -> None:
    source = "{{ enable_thinking }}{% if tools %}{{ tools | length }}{% endif %}{{ strftime_now('%Y') | length }}"
    assert ChatTemplate(source).render(USER, tools=[{"name": "f"}], enable_thinking=False) == "False14"


LAUGHS = "{% set n = namespace(a=['x']) %}{% for i in range(40) %}{% set n.a = [n.a, n.a] %}{% endfor %}"
HOSTILE = {
    "loop in a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "exponential recursion": "{% for x in [1, 2] recursive %}{% if loop.depth < 60 %}{{ loop([1, 2]) }}{% endif %}{% endfor %}",
    "exponential macros": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "output": "{% for a in range(9999) %}{{ 'x' * 99999 }}{% endfor %}",
    "string product": "{{ 'x' * 10 ** 10 }}",
    "list product": "{{ [1] * 10 ** 9 }}",
    "doubling by +": "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "doubling by ~": "{% set n = namespace(s='xx') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "doubling by join": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = [n.s, n.s] | join %}{% endfor %}",
    "doubling by str.join": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s.join(['', n.s]) %}{% endfor %}",
    "doubling by replace": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s | replace('x', 'xx') %}{% endfor %}",
    "doubling by str.replace": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s.replace('x', 'xx') %}{% endfor %}",
    "doubling by %": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = '%s%s' % (n.s, n.s) %}{% endfor %}",
    "doubling by format": "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = '{0}{0}'.format(n.s) %}{% endfor %}",
    "doubling by a block": "{% set x = 'x' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 60,
    "doubling by a macro": "{% macro f(s, n) %}{% if n %}{{ f(s ~ s, n - 1) }}{{ f(s ~ s, n - 1) }}{% else %}{{ s }}"
    "{% endif %}{% endmacro %}{{ f('x', 40) }}",
    "doubling a list": "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "power tower": "{{ 9 ** (9 ** 9) }}",
    "squaring": "{% set n = namespace(s=9) %}{% for i in range(60) %}{% set n.s = n.s * n.s %}{% endfor %}",
    "wide %": "{{ '%1000000000d' % 1 }}",
    "star width": "{{ '%*d' % (1000000000, 1) }}",
    "wide format": "{{ '{:1000000000d}'.format(1) }}",
    "nested width": "{{ '{:{}d}'.format(1, 1000000000) }}",
    "center": "{{ 'x'.center(100000) }}",
    "center filter": "{{ 'x' | center(1000000000) }}",
    "to_bytes": "{{ (1).to_bytes(1000000000, 'big') }}",
    "range": "{{ range(10 ** 10) | list }}",
    "random": "{{ [1, 2] | random }}",
    "lipsum": "{{ lipsum(1000) }}",
    "class walk": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class walk by attr": "{{ (messages | attr('__class__')).__mro__ }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "mutation": "{{ messages.append(1) }}",
    "format class walk": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "count_step by name": "{% set environment = 1 %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "division": "{{ 1 / 0 }}",
    # A few kilobytes that have the text of a thousand billion.
    "laughs printed": f"{LAUGHS}{{{{ n.a }}}}",
    "laughs joined": f"{LAUGHS}{{{{ 'x' ~ n.a }}}}",
    "laughs encoded": f"{LAUGHS}{{{{ n.a | tojson }}}}",
    "laughs compared": f"{LAUGHS}{LAUGHS.replace('n', 'm', 1).replace('n.a', 'm.a')}{{{{ n.a == m.a }}}}",
    "laughs hashed": f"{LAUGHS.replace('[n.a, n.a]', '(n.a, n.a)')}{{{{ {{n.a: 1}} }}}}",
    "laughs of dict()": f"{LAUGHS.replace('[n.a, n.a]', 'dict(a=n.a, b=n.a)')}{{{{ n.a }}}}",
    "a long text many times": "{{ [('x' * 10000000)] * 1000000 }}",
    "a value many times in %": "{{ ('%(a)s' * 1000000) % {'a': 'x' * 1000000} }}",
    "many widths": "{{ ('%9999d' * 100000) % ((1,) * 100000) }}",
    "wide separators": "{{ ([1] * 1000000) | tojson(separators=('x' * 1000000, 'y')) }}",
    "deep indents": "{{ ([[[[[1] * 100000]]]]) | tojson(indent=64) }}",
    "rounding": "{{ 1 | round(1000000000, 'ceil') }}",
    "sum of lists": "{{ ([[1] * 100000] * 20) | sum(start=[]) }}",
    "hoard": "{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l, 'x' * 9999999] %}{% endfor %}",
    "hoard of slices": "{% set s = 'x' * 9999999 %}" + "".join(f"{{% set s{i} = s[1:] %}}" for i in range(1000)),
    "long numbers": "{{ ('f' * 9999999) | int(base=16) // 3 }}",
    "long source": "{# x #}" * 20000,
    "assertion": "{{ 'abcdef' | truncate(-1) }}",
    "name": "{{ 1e999 + 1 }}",
    "long message": "{{ raise_exception('x' * 9999999) }}",
    "undefined": "{{ nothing.at.all }}",
    "include": "{% include 'x' %}",
    "tojson of a function": "{{ raise_exception | tojson }}",
    "unknown filter": "{{ 1 | frobnicate }}",
    "syntax": "{% if %}",
    "deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep blocks": "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_end_quickly_with_an_error(name: str) -> None:
    begin = time.monotonic()
    refusal = ""
    try:
        text = ChatTemplate(HOSTILE[name]).render(USER)
    except TemplateError as error:
        refusal = str(error)
        says_what_to_do = refusal.endswith("; give another with template= (--template)")
        assert says_what_to_do == (name != "long message")
    else:
        # The sandbox renders what it forbids as nothing in these, and says so nowhere.
        assert name in ("class walk by attr", "globals", "undefined")
        assert text == ""
    assert len(refusal) < 1000
    assert time.monotonic() - begin < 15


def test_limits_leave_room_for_what_templates_do() -> None:
    words = "{% set n = namespace(all=[], text='') %}{% for m in messages %}{% set n.all = n.all + [m] %}"
    words += "{% set n.text = n.text ~ m.content ~ 5000000 %}{% endfor %}{{ n.text | length }} {{ n.all | length }}"
    words += "{{ n.all[1:] | length }} {{ [1, 2.5] | sum }} {{ {'a': (1, 'é'), 'b': []} }} {{ 1 | tojson(indent=2) }}"
    many = [{"role": "user", "content": "x" * 100}] * 1000
    assert ChatTemplate(words).render(many) == "107000 1000999 3.5 {'a': (1, 'é'), 'b': []} 1"
    assert ChatTemplate("{{ namespace(a=1) }}{{ '%5.2f|%s' % (1, 2) }}").render(USER) == "<Namespace> 1.00|2"
    # A second render begins anew.
    template = ChatTemplate("{% for i in range(100000) %}{% endfor %}{{ ('x' * 9999999) | length }}")
    assert [template.render(USER) for _ in range(3)] == ["9999999"] * 3


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                "{%",
                "%}",
                "for",
                "x",
                " in ",
                "messages",
                "endfor",
                "if",
                "|",
                "'",
                "~",
                "loop",
                "(",
                ")",
                "[",
                "]",
                "*",
                "9",
                "set",
                "=",
                "macro",
                "endmacro",
                "generation",
            ]
        ),
        max_size=25,
    )
)
def test_random_sources_give_text_or_a_template_error(words: list[str]) -> None:
    with contextlib.suppress(TemplateError):
        ChatTemplate(" ".join(words)).render(USER)


@pytest.mark.parametrize(
    ("messages", "error", "text"),
    [
        ("Hi", TypeError, "expected a list"),
        ({"role": "user"}, TypeError, "expected a list"),
        ([], ValueError, "at least one"),
        (["Hi"], TypeError, r"messages\[0\]"),
        ([{"content": "Hi"}], ValueError, "'role'"),
        ([{"role": "user", "content": 3}], ValueError, "'content'"),
        ([*USER, {"role": "assistant"}], ValueError, r"messages\[1\]"),
    ],
)
def test_messages_are_checked(messages: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        checked_messages(messages)  # type: ignore[arg-type]


def test_a_tool_call_may_have_no_content_and_keys_pass_through() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}], "extra": 1}
    assert checked_messages([message]) == [message]


def test_choice_of_templates() -> None:
    metadata = {
        "tokenizer.chat_template": "A{{ 1 }}",
        "tokenizer.chat_template.tool_use": "B",
        "tokenizer.chat_templates": 3,
    }
    assert named_templates(metadata) == {"default": "A{{ 1 }}", "tool_use": "B"}
    assert chosen_template(metadata, None) == "A{{ 1 }}"
    assert chosen_template(metadata, "tool_use") == "B"
    assert chosen_template(metadata, "{{ own }}") == "{{ own }}"
    with pytest.raises(TemplateError, match="default, tool_use, and none named 'rag'"):
        chosen_template(metadata, "rag")
    with pytest.raises(TemplateError, match=r"has no chat template; give template= .* Jinja source"):
        chosen_template({}, None)
