"""Chat templates: conversations as models were taught them, and strangers' programs that cannot do harm."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crystalline.errors import InputError
from crystalline.inference.chat_template import render
from tests.helpers.chat_templates import CONVERSATIONS, LLAMA, SMOLLM2, STRICT, TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN, END = "<s>", "</s>"
QUESTION = [{"role": "user", "content": "hi"}]
S = "{% set s = 'a' * 100000 %}"
NESTED = "{% set s = ['a'] %}" + "{% set s = [s, s] %}" * 60
TWO_ALIKE = "{% set s, t, u = [1], [1.0], (1,) %}" + "{% set s, t, u = [s, s], [t, t], (u, u) %}" * 60
LARGE = (
    "{% set ns = namespace(l=0) %}{% set r, l, k, s = range(50000), [0] * 50000, [0] * 50000, 'a' * 100000 %}"
    "{% set d, n, m = {}.fromkeys(r), 2 ** 400000 + 1, 2 ** 200000 + 1 %}"
)
BYTES_MAX = 200 << 20

HOSTILE = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) %}{% for b in range(100000) if false %}{% endfor %}{% endfor %}",
    "{% for a in range(100000) %}" + "x" * 100_000 + "{% endfor %}",
    "{% for a in range(10 ** 9) %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ 10 ** 10 * 'a' }}",
    "{{ [0] * 10 ** 10 }}",
    "{{ 9 ** 9 ** 9 ** 9 * 9 ** (9 ** 9) }}",
    "{{ 'a'.ljust(10 ** 10) }}",
    "{{ 'a'.ljust(width=10 ** 10) }}",
    "{{ '\t'.expandtabs(10 ** 10) }}",
    "{{ '%9999999999d' % 1 }}",
    "{{ '%*d' % (10 ** 10, 1) }}",
    "{{ '%.999999999f' % 1.0 }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ '{0:{1}}'.format(1, 10 ** 10) }}",
    "{{ '{x:>9999999999}'.format_map({'x': 1}) }}",
    "{{ 'a\n'|indent(10 ** 10) }}",
    "{{ messages|tojson(indent=10 ** 9) }}",
    "{{ 1.5|round(10 ** 9) }}",
    "{{ strftime_now('%999999999Y') }}",
    S + "{{ s|replace('a', s) }}",
    S + "{{ s.replace('a', s) }}",
    S + "{{ s.join(range(100000)|map('string')|list) }}",
    S + "{{ range(100000)|map('string')|join(s) }}",
    S + "{{ s.encode() * 10 ** 9 }}",
    S + "{{ s.translate({97: s}) }}",
    S + "{% set s = s + s %}" * 60,
    S + "{% set s = s ~ s %}" * 60,
    S + "{% set s %}{{ s }}{{ s }}{% endset %}" * 60,
    S + "{% filter replace('a', s) %}{{ s }}{% endfilter %}",
    "{% set ns = namespace(s='a') %}{% for i in range(1000) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    NESTED + "{{ s }}",
    NESTED + "{{ s|tojson }}",
    NESTED + "{{ s|string|length }}",
    NESTED + "{{ 'x' ~ s }}",
    NESTED + "{{ '%s' % s }}",
    NESTED + "{{ s|safe }}",
    NESTED + "{{ {'a': s}.values() }}",
    NESTED + "{{ namespace(s=s) }}",
    *(
        TWO_ALIKE + reached
        for reached in (
            "{{ s == t }}",
            "{{ s in [t] }}",
            "{{ s is eq t }}",
            "{{ [s].count(t) }}",
            "{{ [s]|select('eq', t)|list }}",
            "{{ {u: 1} }}",
            "{{ {}[u] }}",
            "{{ dict([[u, 1]]) }}",
            "{{ {}.get(u) }}",
        )
    ),
    *(
        LARGE + "{% for i in range(100000) %}{% set ns.l = [ns.l, " + made + "] %}{% endfor %}"
        for made in (
            "l.copy()",
            "r|list",
            "{}.fromkeys(r)",
            "d.copy()",
            "dict(d)",
            "d.items()|list",
            "cycler(*l)",
            "s in 'ba' * 9",
            "l == k",
            "n + i",
            "n - i",
            "-n",
            "n // m",
            "n % m",
            "[" + "0," * 20_000 + "]",
        )
    ),
    "{% macro f() %}{% set _ = ["
    + "0," * 20_000
    + "] %}{% endmacro %}{% for i in range(100000) %}{% set _ = f() %}{% endfor %}",
    S + "{{ s.join(range(100000)|map('string')) }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ([ns] * 9999)|map(attribute='x' ~ '.x' * 9999)|list }}",
    "{{ (5).to_bytes(10 ** 10) }}",
    "{{ lipsum(10 ** 9) }}",
    "{{ range(100000)|batch(10 ** 9, 'x')|list }}",
    "{{ ''|center(10 ** 10) }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "-" * 50_000 + "1 }}",
    "x" * (1 << 20),
]
FAULTY = [
    "{% if %}",
    "{{ 1 / 0 }}",
    "{{ x.y }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({}) }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ raise_exception.__globals__['json'] }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ 'a'|no_such_filter }}",
    "{{ 1 + 'a' }}",
    "{{ messages[99].content.strip() }}",
]


@contextmanager
def little_memory() -> Iterator[None]:
    """No more memory than there is now, and a little."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES_MAX, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("template", HOSTILE, ids=lambda text: text[:60])
def test_what_would_fill_memory_or_time_ends_in_one_error(template: str) -> None:
    with little_memory(), pytest.raises(InputError, match="chat template") as caught:
        render(template, QUESTION)
    assert len(str(caught.value).splitlines()) == 1
    assert "MemoryError" not in str(caught.value), "it was refused, and did not run into a wall"


@pytest.mark.parametrize("template", FAULTY)
def test_whatever_a_template_does_wrong_is_one_error(template: str) -> None:
    with pytest.raises(InputError, match="chat template cannot be used") as caught:
        render(template, QUESTION)
    assert len(str(caught.value).splitlines()) == 1


def test_smollm2() -> None:
    assert render(SMOLLM2, QUESTION) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_blocks_take_their_lines_with_them_and_today_is_known() -> None:
    today = datetime.now().strftime("%d %b %Y")  # noqa: DTZ005  (as people date)
    assert render(LLAMA, [{"role": "system", "content": " Be brief. "}, *QUESTION], begin_token=BEGIN) == (
        f"<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: {today}\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_much_of_the_language_is_there() -> None:
    messages = [*QUESTION, {"role": "assistant", "content": " yes "}]
    assert render(STRICT, messages, begin_token=BEGIN, end_token=END) == (
        '<s>[INST] hi [/INST]yes</s>{"turns": 2, "é": "<b>"} user,assistant\n(END) 005|   7'
    )


def test_a_refusal_is_the_templates_own_words() -> None:
    with pytest.raises(InputError, match=r"refuses the conversation: Conversation roles must alternate"):
        render(STRICT, [*QUESTION, *QUESTION])


def test_the_answer_is_asked_for_unless_it_is_there() -> None:
    whole = render(SMOLLM2, QUESTION)
    assert whole == render(SMOLLM2, QUESTION, add_generation_prompt=False) + "<|im_start|>assistant\n"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_contents_are_text_and_not_template(template: str) -> None:
    assert "{{ not_a_template }}" in render(template, CONVERSATIONS[1])


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_long_conversations_are_within_the_budget(template: str) -> None:
    turn = [{"role": "user", "content": "a" * 2000}, {"role": "assistant", "content": "b" * 2000}]
    assert len(render(template, turn * 500)) > 2_000_000
    short = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert render(template, short * 400).count("b") >= 400


def test_messages_are_not_changed() -> None:
    messages = [{"role": "user", "content": "hi"}]
    render("{% set m = messages[0] %}{% set _ = m.pop %}{{ m.content }}", messages)
    assert messages == QUESTION
