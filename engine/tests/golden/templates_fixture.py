"""The template fixture: small templates, each of which leans on one feature, and what transformers makes of them.

A case has the template, or several by name, and everything that `apply_chat_template` is given. The tokenizer is that of
the tokenizer fixture, so its special tokens are the same.
"""

import datetime
import warnings
from pathlib import Path

from checks import check_size
from tokenizer_fixture import one_case_per_line
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

GOLDEN = Path(__file__).parent
TEMPLATES_BYTES_MAX = 60_000
NOW = datetime.datetime(2024, 1, 5, 9, 30)

USER = {"role": "user", "content": "Is it open?"}
SYSTEM = {"role": "system", "content": "  You guard the gate. \n"}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is."}
PARTIAL = {"role": "assistant", "content": "The gate "}
TOOL = {
    "type": "function",
    "function": {
        "name": "gate",
        "description": "Opens <it> & \"shuts\" it; °C, 门 😀",
        "parameters": {
            "type": "object",
            "properties": {"open": {"type": "boolean"}, "after": {"type": "number", "default": 0.5}},
            "required": ["open"],
        },
    },
}
CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "gate", "arguments": {"open": True, "to": ["é", None, 1.0]}}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "name": "gate", "content": "{\"ok\": 1}"}
DOCUMENTS = [{"title": "Gate", "text": "It opens at noon."}, {"title": "Moat", "text": "It is \"deep\"."}]

PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"


def case(feature: str, template, messages=(USER,), **given) -> dict:
    return {"feature": feature, "template": template, "messages": list(messages), **given}


CASES = (
    case("generation prompt", PLAIN, (SYSTEM, USER)),
    case("no generation prompt", PLAIN, (USER, THOUGHT), add_generation_prompt=False),
    case("begin token", "{{ bos_token }}" + PLAIN, (USER,)),
    case("trim_blocks and lstrip_blocks", "a\n    {% if true %}\n  b\n    {%- if true -%}\n c \n{%+ endif %}\n  {# note #}\n{% endif %}\nd\n"),
    case("raise_exception is not reached", "{% if messages | length > 9 %}{{ raise_exception('long') }}{% endif %}ok"),
    case("strftime_now", "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M:%S') }}|{{ strftime_now('%A, %B %-d, %j') }}"),
    case("tojson", "{{ tools | tojson }}", tools=[TOOL]),
    case("tojson of a message", "{% for m in messages %}{{ m | tojson }}\n{% endfor %}", (USER, CALLS, RESULT)),
    case("tojson with indent", "{{ tools | tojson(indent=4) }}", tools=[TOOL]),
    case("tojson with ensure_ascii", "{{ tools | tojson(ensure_ascii=True) }}", tools=[TOOL]),
    case("tojson with sort_keys and separators", "{{ tools | tojson(sort_keys=true, separators=(',', ':')) }}", tools=[TOOL]),
    case("tojson with indent and separators", "{{ tools | tojson(indent=2, separators=(',', ': ')) }}", tools=[TOOL]),
    case(
        "generation tags",
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{%- else -%}\n{%- generation -%} x {% endgeneration -%}\n{{ m.content }}{% endif %}{% endfor %}",
        (USER, PARTIAL),
    ),
    case(
        "methods of texts",
        "{% set s = '  a-B</think> c.d  ' %}{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ s.strip(' d') }}|{{ s.upper() }}"
        "|{{ s.lower() }}|{{ s.title() }}|{{ s.strip().capitalize() }}|{{ s.split('</think>') }}|{{ s.split() }}|{{ s.split('-', 1)[1] }}"
        "|{{ s.replace('a', 'z') }}|{{ s.startswith('  a') }}|{{ s.endswith(('x', '  ')) }}|{{ s.find('B') }}|{{ s.rfind('z') }}"
        "|{{ s.count('.') }}|{{ ', '.join(['x', 'y']) }}|{{ 'a\nb\r\nc'.splitlines() }}|{{ 'x1'.isalnum() }}|{{ '12'.isdigit() }}"
        "|{{ 'aB'.isupper() }}|{{ '{}-{}'.format(1, 'b') }}",
    ),
    case(
        "rarer methods of texts",
        "{% set s = 'fn.gate:0' %}{{ s.removeprefix('fn.') }}|{{ s.removesuffix(':0') }}|{{ s.partition(':') }}|{{ s.rpartition('.') }}"
        "|{{ s.partition('#') }}|{{ s.rpartition('#') }}|{{ s.rsplit(':', 1) }}|{{ 'a b  c '.rsplit(None, 1) }}|{{ 'a.b.c'.rsplit('.') }}"
        "|{{ s.index('g') }}|{{ s.rindex(':') }}|{{ '-7'.zfill(4) }}|{{ 'ab'.ljust(4, '.') }}|{{ 'ab'.rjust(4) }}|{{ 'ab'.center(5, '*') }}"
        "|{{ 'abc'.center(6, '*') }}|{{ 'aB'.swapcase() }}|{{ 'Aß'.casefold() == 'ass' or true }}|{{ ['x', 'y'].index('y') }}",
    ),
    case(
        "methods of mappings",
        "{% for m in messages %}{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}{{ m.keys() | list }}{{ m.values() | list }}"
        "{{ m.get('name', 'none') }}{{ m.get('nope') }}{{ m.get('nope') is none }}{% endfor %}",
    ),
    case(
        "namespace",
        "{% set ns = namespace(last=-1, seen=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
        "{% set ns.seen = true %}{% endif %}{% endfor %}{{ ns.last }}{{ ns.seen }}",
        (USER, THOUGHT, USER),
    ),
    case(
        "loop variables",
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex0 }}"
        "{{ loop.previtem.role if loop.previtem }}{{ loop.nextitem.role if loop.nextitem is defined }};{% else %}none{% endfor %}",
        (SYSTEM, USER, THOUGHT),
    ),
    case(
        "loop controls",
        "{%- for m in messages %}\n{%- if loop.first %}{%- continue %}{% endif %}\n{{ m.role }}\n{%- if loop.index == 2 %}\n{%- break %}\n{%- endif %}{%- endfor %}!",
        (SYSTEM, USER, THOUGHT),
    ),
    case("loop with a condition", "{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.role }} {% endfor %}", (SYSTEM, USER, THOUGHT)),
    case("slices", "{{ messages[1:] | length }}{{ messages[-1].role }}{{ messages[::-1][0].role }}{{ messages[0].content[:4] }}{{ messages[0].content[-3:] }}", (USER, THOUGHT)),
    case("macros with defaults", "{% macro row(m, mark='-') -%}\n{{ mark }} {{ m.role }}\n{%- endmacro %}{{ row(messages[0]) }}{{ row(messages[0], mark='+') }}"),
    case("macro with caller", "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}{{ messages[0].content }}{% endcall %}"),
    case(
        "filters",
        "{{ messages | map(attribute='role') | join(',') }}|{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
        "|{{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | list }}|{{ [3, 1, 2] | sort }}|{{ [1, 2] | last }}|{{ 'a' | default('b') }}"
        "|{{ nope | default('b') }}|{{ '' | default('b', true) }}|{{ 'x' | upper }}|{{ ' y ' | trim }}|{{ [1, [2]] | string }}|{{ 'a b' | replace(' ', '_') }}"
        "|{{ '3' | int + 1 }}|{{ 2.5 | round }}|{{ {'b': 1, 'a': 2} | dictsort }}|{{ {'b': 1} | items | list }}|{{ [1, 1, 2] | unique | list }}|{{ 'abc' | first }}"
        "|{{ 'a\nb' | indent(2) }}|{{ [1, 2, 3] | sum }}|{{ [3, 1] | max }}|{{ 'abc' | reverse }}|{{ '%s-%d' | format('x', 3) }}|{{ 'x' | safe }}|{{ -3 | abs }}",
        (SYSTEM, USER, THOUGHT),
    ),
    case(
        "tests",
        "{{ tools is none }}{{ tools is defined }}{{ nope is undefined }}{{ messages is iterable }}{{ messages is mapping }}{{ messages[0] is mapping }}"
        "{{ 'a' is string }}{{ 1 is number }}{{ true is boolean }}{{ messages is sequence }}{{ 3 is odd }}{{ 'a' in 'abc' }}{{ 'role' in messages[0] }}{{ 1 is not none }}"
        "{{ 4 is divisibleby 2 }}{{ 1.0 is float }}{{ 1 is integer }}{{ 'x' is eq 'x' }}{{ [] is false }}{{ false is false }}",
    ),
    case("values as Python writes them", "{{ none }} {{ true }} {{ 1.0 }} {{ 1e20 }} {{ [1, 'a', none] }} {{ {'k': 'v\\'s', 'n': 1.5} }} {{ (1, 2) }} {{ 'é' }} {{ ['é\n'] }} {{ nope }}"),
    case("arithmetic and conditions", "{{ 7 // 2 }}{{ 7 % 3 }}{{ 2 ** 3 }}{{ 7 / 2 }}{{ 'a' ~ 1 ~ none }}{{ 'x' * 3 }}{{ 'yes' if messages else 'no' }}{{ not false and (1 < 2 <= 2) }}{{ [1] + [2] }}{{ 'a' 'b' }}"),
    case("assignments", "{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set block %}x{{ a }}\n{% endset %}{{ block | trim }}{% set messages = messages[1:] %}{{ messages | length }}", (SYSTEM, USER)),
    case("template for tools", {"default": "plain", "tool_use": "tools {{ tools[0].function.name }}"}, tools=[TOOL]),
    case("template without tools", {"default": "plain", "tool_use": "tools"}),
    case("documents", "{% for d in documents %}{{ loop.index0 }} {{ d['title'] }}: {{ d.text | tojson }}\n{% endfor %}", documents=DOCUMENTS),
    case("no documents", "{{ documents is none }}{% if documents %}x{% endif %}"),
    case("variables of the client", "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{{ effort | default('none') }}{{ extra | tojson }}", variables={"enable_thinking": False, "extra": {"a": [1]}}),
    case("variables that are not given", "{{ enable_thinking is defined }}{% if enable_thinking %}x{% endif %}"),
    case("calls and results", "{% for m in messages %}{{ m.role }}{% for c in m.tool_calls or [] %}<{{ c.function.name }} {{ c.function.arguments | tojson }}>{% endfor %}{% if m.tool_calls is defined %}!{% endif %}{% if m.role == 'tool' %}{{ m.tool_call_id }} {{ m.name }}{{ m.content }}{% endif %}{% endfor %}", (USER, CALLS, RESULT)),
    case("a message that goes on", PLAIN, (USER, PARTIAL), add_generation_prompt=False, continue_final_message=True),
    case("a message that goes on and is trimmed", "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{{ eos_token }}{% endfor %}", (USER, PARTIAL), add_generation_prompt=False, continue_final_message=True),
    case("thoughts of earlier turns", "{% for m in messages %}{% set c = m.content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}{{ c }}|{% endfor %}", (USER, THOUGHT, USER)),
    case("escapes in texts", "{{ 'a\\nb\\t\\'q\\' \\u00e9' }}{{ \"\\\\n\" }}{% raw %}{{ raw }}{% endraw %}{{ '{{' }}"),
)


class Clock(datetime.datetime):
    """The time that templates write."""

    @classmethod
    def now(cls, tz=None):
        return NOW


def rendered(tokenizer, given: dict) -> str:
    options = {"tools": None, "documents": None, "add_generation_prompt": True, "continue_final_message": False}
    options = {key: given.get(key, default) for key, default in options.items()}
    tokenizer.chat_template = given["template"]
    return tokenizer.apply_chat_template(given["messages"], tokenize=False, **options, **given.get("variables", {}))


def make_templates(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "tokenizer")
    chat_template_utils.datetime = Clock
    warnings.simplefilter("ignore")
    ref = {"cases": [{**given, "rendered": rendered(tokenizer, given)} for given in CASES]}
    (folder / "ref.json").write_text(one_case_per_line(ref), encoding="utf-8")
    check_size(folder, TEMPLATES_BYTES_MAX)
